"""Forms that come in: whose page they stood on, whose browser sent them, and what is in them.

Two fences against forms of other sites: what the browser says of the sender (`Sec-Fetch-Site`,
`Origin`), and a token in every form that is bound to a cookie of this browser. The token is made
anew for every page, so the same one is sent only by a form that is sent twice.
"""

import base64
import hmac
import urllib.parse
from collections.abc import Callable, Collection
from typing import Final, Literal

from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.requests import Request

from denizen.errors import InvalidError, Issue
from denizen.http.route import BoundedRequest, refuse_length
from denizen.secret import new_secret

Form = ImmutableMultiDict[str, str]
NO_FORM: Final = Form()
TOKEN: Final = "form"  # the name of the field  # noqa: S105
MAX_FIELDS: Final = 1000
_NONCE_BYTES: Final = 32
_FROM_HERE: Final = frozenset({"same-origin", "none"})  # none: the person's own doing
_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"


class FormRefusedError(Exception):
    """Raised for a form that no page of ours in this browser has sent."""

    def __init__(self, reason: Literal["foreign", "stale", "cookieless"]) -> None:
        super().__init__(reason)
        self.reason = reason


def require_own_origin(request: Request, public: str) -> None:
    """Refuse what a page of another site sends.

    A browser that says neither where a request comes from nor its origin is older than both
    headers; the form's token is asked for in any case.

    Args:
        request: the form.
        public: the origin where the service is seen, whatever a proxy made of `Host`.

    Raises:
        FormRefusedError: another site's page, or a sandboxed one.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site not in _FROM_HERE:
        raise FormRefusedError("foreign")
    if origin in {None, public} or (origin == "null" and site is not None):
        return  # under `Referrer-Policy: no-referrer` browsers say `null` even to their own site
    if urllib.parse.urlsplit(origin).netloc != request.headers.get("host"):
        raise FormRefusedError("foreign")


async def read_form(request: Request) -> Form:
    """Give the fields of a form, within the limits of a JSON body.

    Raises:
        HTTPException: 413, 408; 415 for another media type; 400 for what is no form in UTF-8.
    """
    refuse_length(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _MEDIA_TYPE:
        raise HTTPException(415)
    body = await BoundedRequest(request.scope, request.receive).body()
    try:
        fields = urllib.parse.parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise HTTPException(400) from None
    return Form(fields)


def new_token(cookie: str) -> str:
    """Make a form's token, which only the browser with that cookie can send."""
    nonce = new_secret()
    return base64.urlsafe_b64encode(nonce + _mac(cookie, nonce)).decode()


def require_token(cookie: str, text: str) -> None:
    """Refuse a form whose token is not for that cookie.

    Raises:
        FormRefusedError: it is another's, or the cookie has changed since the page was made.
    """
    try:
        raw = base64.b64decode(text.encode(), b"-_", validate=True)
    except ValueError:
        raise FormRefusedError("stale") from None
    nonce, mac = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
    if not cookie:
        raise FormRefusedError("cookieless")
    if not hmac.compare_digest(mac, _mac(cookie, nonce)):
        raise FormRefusedError("stale")


def digest(path: str, form: Form) -> bytes:
    """Give what a form and its repetition have in common, and no other.

    Its passwords are in it, but keyed by the token's 256 random bits, which nobody keeps.
    """
    told = "\n".join([path, urllib.parse.urlencode(form.multi_items())])
    return hmac.digest(form.get(TOKEN, "").encode(), told.encode(), "sha256")


def one_of(values: Collection[str]) -> Callable[[str], str]:
    """Give the parser of a field that has one of these values, whatever else may be sent."""

    def parse(text: str) -> str:
        if text not in values:
            raise InvalidError(Issue("", "missing", ""))
        return text

    return parse


def _mac(cookie: str, nonce: bytes) -> bytes:
    return hmac.digest(cookie.encode(), b"denizen form" + nonce, "sha256")
