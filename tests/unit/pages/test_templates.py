"""Templates: compiled once in a process, in whatever language they are shown."""

from typing import Any

import pytest
from jinja2 import Environment

from denizen.pages import templates
from denizen.pages.templates import Templates
from denizen.pages.words import all_words


def test_template_is_compiled_once_for_all_languages_and_apps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each language still has words of its own."""
    compiled: list[str] = []
    compile_one: Any = Environment.compile

    def counted(environment: Environment, source: Any, name: str, *rest: Any, **more: Any) -> Any:
        compiled.append(name)
        return compile_one(environment, source, name, *rest, **more)

    monkeypatch.setattr(Environment, "compile", counted)
    monkeypatch.setattr(templates, "_COMPILED", templates._Compiled())
    titles = set()
    for _ in range(2):
        for environment in Templates(all_words(), {})._environments.values():
            template = environment.get_template("refused.html")
            titles.add("".join(template.blocks["title"](template.new_context())))

    assert compiled == ["refused.html"]
    assert len(titles) == len(all_words()) > 1
