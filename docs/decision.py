"""Writes decision record 0001, in English and Russian, from its templates and the figures.

python docs/decision.py

Every figure in the record is a name in a template (`docs/templates`), and every name a figure of
`docs/decisions/0001-styles.json`, which `make styles` writes.
"""

import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parent
DECISIONS: Final = DOCS / "decisions"
FIGURES: Final = DECISIONS / "0001-styles.json"
PAGES: Final = {"en": "0001-crud-on-the-model.md", "ru": "0001-crud-on-the-model.ru.md"}
STYLES: Final = "abcde"
CHANGES: Final = ("letter_case", "tenant", "audit_row")
SCENARIOS: Final = ("create_user", "change_email", "delete_user")
CATCHERS: Final = ("types", "lint", "test", "nothing", "inherent")
Figures = dict[str, Any]

# The rows of the table: a cell, by the names below, and what each language calls the row
ROWS: Final = (
    ("{kept} / {asked}", "properties of the contract kept", "выполнено свойств контракта"),
    ("{rows}", "rows of the sketch's 24 that break", "строк из 24 дефектов наброска нарушено"),
    ("{lines} / {modules}", "lines of code / modules", "строк кода / модулей"),
    ("{new_scenario}", "lines of a new scenario", "строк на новый сценарий"),
    ("{letter_case}", "lines touched: letter case", "затронуто строк: регистр букв"),
    ("{tenant}", "lines touched: tenant column", "затронуто строк: колонка tenant"),
    ("{audit_row}", "lines touched: audit row", "затронуто строк: строка аудита"),
    ("{statements}", "statements of three scenarios", "запросов в трёх сценариях"),
    ("{transactions}", "transactions of three scenarios", "транзакций в трёх сценариях"),
    ("{cpu_sign_up}", "CPU of a sign-up, of (c)'s", "CPU регистрации, к (c)"),
    ("{cpu_change}", "CPU of a change of e-mail", "CPU смены почты"),
    ("{cpu_erase}", "CPU of an erasure", "CPU удаления"),
    (
        "{reached} / {branches}",
        "branches tested without a database",
        "ветвей, проверяемых без базы",
    ),
    ("{test_lines}", "lines of those tests and stand-ins", "строк этих тестов и заглушек"),
    (
        "{fan_in} / {cycles}",
        "modules importing the model / in cycles",
        "импортируют модель / циклы",
    ),
    ("{reaches}", "what the model's imports reach", "до чего дотягивается импорт модели"),
    (
        "{typos_types} / {typos_lint} / {typos_test} / {typos_nothing}",
        "10 typos: types / lint / test / nothing",
        "10 опечаток: типы / линтер / тест / ничто",
    ),
    (
        " / ".join(f"{{transactions_{who}}}" for who in CATCHERS),
        "10 transaction mistakes: types / lint / test / nothing / the style is like that",
        "10 ошибок с транзакциями: типы / линтер / тест / ничто / таков сам стиль",
    ),
)
_REACHES: Final = {
    "en": {(False, False): "nothing", (True, False): "session", (True, True): "engine"},
    "ru": {(False, False): "ни до чего", (True, False): "сессия", (True, True): "движок"},
}


class _Names(string.Template):
    """`$name` or `${name}`, where a name has dots."""

    idpattern = r"[a-z0-9_.]+"


def pages() -> dict[Path, str]:
    """Give the text of each page by its path."""
    figures: Figures = json.loads(FIGURES.read_text("utf-8"))
    found = {}
    for number, (language, name) in enumerate(PAGES.items()):
        template = _Names((DOCS / "templates" / name).read_text("utf-8"))
        given = names(figures, language)
        given["table"] = "\n".join(_table(given, number))
        found[DECISIONS / name] = template.substitute(given)
    return found


def names(figures: Figures, language: str) -> dict[str, str]:
    """Give every figure that a template may name."""
    found: dict[str, Any] = {f"{n}.{k}": v for n in STYLES for k, v in _style(figures, n)}
    for letter in STYLES:
        found[f"{letter}.reaches"] = _REACHES[language][
            figures["imports"][letter]["session"], figures["imports"][letter]["engine"]
        ]
    steps = figures["leaving"]
    for number, step in enumerate(steps, 1):
        found |= {
            f"leaving.{number}.lines": step["lines"],
            f"leaving.{number}.files": step["files"],
        }
    found["leaving.lines"] = sum(step["lines"] for step in steps)
    found["leaving.steps"] = len(steps)
    return {name: str(value) for name, value in found.items()}


def _style(figures: Figures, letter: str) -> Iterator[tuple[str, Any]]:
    """Give the figures of one style."""
    cells = [(p["row"], p["found"][letter]) for p in figures["contract"] if letter in p["found"]]
    broken = {row for row, cell in cells if not cell["holds"]}
    yield from (("asked", len(cells)), ("kept", sum(cell["holds"] for _, cell in cells)))
    yield from (("rows", len(broken)), ("broken", sum(not cell["holds"] for _, cell in cells)))
    yield from figures["packages"][letter].items()
    yield from ((name, one[letter]["lines"]) for name, one in figures["changes"].items())
    yield from ((f"{name}_files", one[letter]["files"]) for name, one in figures["changes"].items())
    yield "changes", sum(figures["changes"][change][letter]["lines"] for change in CHANGES)
    for what in ("statements", "transactions"):
        told = [figures["statements"][scenario][letter][what] for scenario in SCENARIOS]
        yield what, " + ".join(map(str, told))
    for name, scenario in zip(("sign_up", "change", "erase"), SCENARIOS, strict=True):
        for kind, took in figures["latency"][scenario][letter].items():
            yield f"{kind}_{name}", "{ratio:.2f} ({low:.2f}–{high:.2f})".format(**took)
            yield f"{kind}_{name}_ratio", f"{took['ratio']:.2f}"
    yield from figures["branches"][letter].items()
    yield from (item for item in figures["imports"][letter].items() if item[0] != "modules")
    for kind, planted in figures["mistakes"].items():
        first = [one["first"][letter] for one in planted]
        yield from ((f"{kind}_{who}", first.count(who)) for who in CATCHERS)


def _table(given: dict[str, str], language: int) -> Iterator[str]:
    yield "| | (a) | (b) | (c) | (d) | (e) |\n|---|---|---|---|---|---|"
    for cell, *labels in ROWS:
        told = [
            cell.format(**{k[2:]: v for k, v in given.items() if k.startswith(f"{letter}.")})
            for letter in STYLES
        ]
        yield f"| {labels[language]} | {' | '.join(told)} |"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
