"""The templates, compiled once in a process, and the files that pages are served with."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import CodeType
from typing import Any, Final

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket
from starlette.responses import Response

from denizen.pages.words import Words
from denizen.users.values import Locale

_MEDIA_TYPES: Final = {
    "style.css": "text/css",
    "script.js": "text/javascript",
    "icons.svg": "image/svg+xml",
    "icon.svg": "image/svg+xml",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"  # another content has another address


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, and the address under which it never changes."""

    url: str
    content: bytes
    media_type: str

    def response(self) -> Response:
        """Serve it."""
        headers = {"Cache-Control": _FOR_GOOD, "X-Content-Type-Options": "nosniff"}
        return Response(self.content, media_type=self.media_type, headers=headers)


def all_assets() -> dict[str, Asset]:
    """Read every file, by its name."""
    found = {}
    for name, media_type in _MEDIA_TYPES.items():
        content = (files("denizen.pages") / "assets" / name).read_bytes()
        version = hashlib.sha256(content).hexdigest()[:12]
        found[name] = Asset(f"/assets/{name}?{version}", content, media_type)
    return found


class _Compiled(BytecodeCache):
    """What templates were compiled to: the same in every language and every app.

    Only for environments with the same options: neither key nor checksum says anything of them.
    """

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Find what was made of the same text under the same name."""
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it."""
        if bucket.code is not None:
            self._codes[bucket.key, bucket.checksum] = bucket.code


_COMPILED: Final = _Compiled()


class Templates:
    """The templates in every language.

    Args:
        languages: the words of each.
        facts: what every template may use.
    """

    def __init__(self, languages: Mapping[Locale, Words], facts: Mapping[str, Any]) -> None:
        self._environments = {
            locale: _environment(words, facts) for locale, words in languages.items()
        }

    def render(self, locale: Locale, name: str, **facts: Any) -> str:
        """Give a page's text."""
        return self._environments[locale].get_template(name).render(facts)


def _environment(words: Words, facts: Mapping[str, Any]) -> Environment:
    environment = Environment(
        loader=PackageLoader("denizen.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
        bytecode_cache=_COMPILED,
    )
    environment.policies["ext.i18n.trimmed"] = True
    install: Any = environment
    install.install_gettext_callables(
        words.gettext,
        words.ngettext,
        newstyle=True,
        pgettext=words.pgettext,
        npgettext=words.npgettext,
    )
    environment.globals |= {"words": words, **facts}
    return environment
