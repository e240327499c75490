"""Writes `docs/reference.md` from the code: settings, errors, commands, routes, mails.

python docs/generate.py > docs/reference.md
"""

import sys
from collections.abc import Iterator
from typing import Any

import typer.main
from pydantic import SecretStr

from denizen.app import create_app
from denizen.cli.commands import app as commands
from denizen.db import errors as db_errors
from denizen.http.problems import PROBLEMS
from denizen.mail.message import FACTS
from denizen.settings import Settings, listed

HEAD = """# Reference

Made from the code by `python docs/generate.py`; a test compares.
"""


def page() -> str:
    """Give the whole page."""
    return "\n".join([HEAD, *_settings(), *_errors(), *_commands(), *_routes(), *_mails()]) + "\n"


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield (
        "Environment variables, or lines of a `.env` file; `DENIZEN_X_FILE` names a file that "
        "holds the value of `DENIZEN_X`.\n"
    )
    yield "| variable | default | meaning |\n|---|---|---|"
    for setting in listed(Settings.model_construct()):
        yield f"| `{setting.variable}` | {setting.default} | {setting.meaning} |"


def _errors() -> Iterator[str]:
    yield "\n## Errors\n"
    yield (
        "`application/problem+json`: `{type, title, status, detail, code, errors?}`. `code` is "
        "stable; `errors` lists `{field, code, message}`.\n"
    )
    yield "| code | status | raised as | detail |\n|---|---|---|---|"
    for kind, problem in PROBLEMS.items():
        code: Any = kind.code  # type: ignore[attr-defined]  # every leaf of ours has one
        if kind is db_errors.TakenError:
            code = "email_taken`, `username_taken"
        if kind is db_errors.CursorError:
            code = "invalid"
        yield f"| `{code}` | {problem.status} | `{kind.__name__}` | {problem.detail} |"


def _commands() -> Iterator[str]:
    yield "\n## Commands\n"
    yield "Exit status: 0 ok, 1 refused by the domain, 2 wrong usage, 3 out of reach.\n"
    yield "| command | does |\n|---|---|"
    yield from _group(typer.main.get_command(commands), "denizen")


def _group(command: Any, name: str) -> Iterator[str]:
    for word, inner in sorted(getattr(command, "commands", {}).items()):
        if hasattr(inner, "commands"):
            yield from _group(inner, f"{name} {word}")
            continue
        taken = [
            str(p.metavar or p.name).upper()
            for p in inner.params
            if p.param_type_name == "argument"
        ]
        options = [p.opts[0] for p in inner.params if p.param_type_name == "option"]
        usage = " ".join([name, word, *taken, *(f"[{o}]" for o in options if o != "--help")])
        yield f"| `{usage}` | {str(inner.help).splitlines()[0]} |"


def _routes() -> Iterator[str]:
    yield "\n## Routes\n"
    yield "| method and path | does | answers |\n|---|---|---|"
    url = SecretStr("postgresql://nobody@localhost/nothing")
    document = create_app(Settings.model_construct(database_url=url)).openapi()
    for path, methods in sorted(document["paths"].items()):
        for method, route in methods.items():
            does = route.get("description", "").splitlines()[0]
            yield f"| {method.upper()} `{path}` | {does} | {', '.join(route['responses'])} |"


def _mails() -> Iterator[str]:
    yield "\n## Mails\n"
    yield "What the templates of each kind may say ([how](mail.md)); beside `at` also `origin`.\n"
    yield "| kind | facts |\n|---|---|"
    for kind, facts in FACTS.items():
        yield f"| `{kind}` | {', '.join(f'`{fact}`' for fact in sorted(facts))} |"


if __name__ == "__main__":
    sys.stdout.write(page())
