"""Writes decision record 0001, in English and Russian, from its templates and the figures.

python docs/decision.py

Every figure in the record is a name in a template (`docs/templates`), and every name a figure of
`docs/decisions/0001-styles.json`, which `make styles` writes, or of `0001-slice.json` beside it
(`bench/styles/slice.py`).
"""

import json
import re
import string
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parent
DECISIONS: Final = DOCS / "decisions"
FIGURES: Final = DECISIONS / "0001-styles.json"
SLICE: Final = DECISIONS / "0001-slice.json"
PAGES: Final = {"en": "0001-crud-on-the-model.md", "ru": "0001-crud-on-the-model.ru.md"}
STYLES: Final = "abcde"
CHANGES: Final = ("letter_case", "tenant", "audit_row")
SCENARIOS: Final = {"create_user": "sign_up", "change_email": "change", "delete_user": "erase"}
CATCHERS: Final = ("types", "lint", "test", "nothing")
Figures = dict[str, Any]
Row = tuple[str, str, str]

# The rows of the table: a cell, by the names below, and what each language calls the row
ROWS: Final[tuple[Row, ...]] = (
    ("{kept} / {asked}", "properties of the contract kept", "свойств контракта выполнено"),
    ("{rows}", "of the sketch's 24 defects, present", "дефектов из 24 осталось"),
    ("{lines} / {modules}", "lines of code / modules", "строк кода / модулей"),
    ("{new_scenario}", "lines of a new scenario", "строк на новый сценарий"),
    ("{letter_case}", "lines touched: letter case", "затронуто строк: регистр букв"),
    ("{tenant}", "lines touched: tenant column", "затронуто строк: колонка tenant"),
    ("{audit_row}", "lines touched: audit row", "затронуто строк: запись в аудит"),
    ("{statements}", "statements of the three scenarios", "запросов в трёх сценариях"),
    ("{transactions}", "transactions of the three", "транзакций в трёх сценариях"),
    ("{race}", "HTTP status after a lost race", "HTTP-статус после проигранной гонки"),
    ("{cpu_sign_up}", "sign-up: CPU, (c) = 1", "регистрация: процессор, (c) = 1"),
    ("{cpu_change}", "change of address: CPU", "смена адреса: процессор"),
    ("{cpu_erase}", "erasure: CPU", "удаление: процессор"),
    ("{wall_sign_up}", "sign-up: by the clock", "регистрация: по часам"),
    ("{wall_change}", "change of address: by the clock", "смена адреса: по часам"),
    ("{wall_erase}", "erasure: by the clock", "удаление: по часам"),
    (
        "{fakes} / {branches}",
        "branches tested without a database, by fakes",
        "ветвей проверено без базы фейками",
    ),
    ("{stubs} / {branches}", "likewise by stubs", "то же стабами"),
    (
        "{fan_in} / {cycles}",
        "modules that import the model / in cycles",
        "модулей импортируют модель / в циклах",
    ),
    ("{reaches}", "what the model's imports reach", "до чего доходят импорты модели"),
    (
        " / ".join(f"{{typos_{who}}}" for who in CATCHERS),
        "10 typos caught by types / lint / test / nothing",
        "10 опечаток поймали: типы / линтер / тест / никто",
    ),
    (
        " / ".join(f"{{transactions_{who}}}" for who in CATCHERS) + "{inherent}",
        "10 transaction mistakes likewise; + in the style itself",
        "10 ошибок с транзакциями, так же; + заложены в самом стиле",
    ),
)
_REACHES: Final = {
    "en": {(False, False): "nothing", (True, False): "session", (True, True): "engine"},
    "ru": {(False, False): "ни до чего", (True, False): "сессия", (True, True): "движок"},
}
_STEPS: Final[dict[str, dict[str, str]]] = {
    "en": {},
    "ru": {
        "repositories": "репозитории",
        "ports": "порты",
        "no verbs": "модель без CRUD-методов",
    },
}


class _Names(string.Template):
    """`$name` or `${name}`, where a name has dots."""

    idpattern = r"[a-z_]+(?:\.[a-z0-9_]+)*"


def pages() -> dict[Path, str]:
    """Give the text of each page by its path."""
    figures: Figures = json.loads(FIGURES.read_text("utf-8"))
    own: Figures = json.loads(SLICE.read_text("utf-8"))
    found = {}
    for number, (language, name) in enumerate(PAGES.items()):
        template = _Names((DOCS / "templates" / name).read_text("utf-8"))
        given = names(figures, own, language)
        given["table"] = "\n".join(_table(given, number))
        given["steps"] = "\n".join(_steps(figures, language))
        if language == "ru":
            given = {k: re.sub(r"(?<=\d)\.(?=\d\d\b)", ",", v) for k, v in given.items()}
        found[DECISIONS / name] = _filled(template.substitute(given))
    return found


def _filled(text: str) -> str:
    """Break the lines of prose anew: figures are shorter than their names."""
    return (
        "\n\n".join(
            block if block.startswith(("#", "|", "![")) else _fill(block)
            for block in text.strip().split("\n\n")
        )
        + "\n"
    )


def _fill(block: str) -> str:
    whole = re.sub(r"`[^`]+`", lambda code: " ".join(code[0].split()).replace(" ", "\0"), block)
    return "\n".join(
        textwrap.fill(
            " ".join(item.split(" ")),
            100,
            subsequent_indent="  " if item.startswith("* ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in re.split(r"\n(?=\* )", whole)
    ).replace("\0", " ")


def names(figures: Figures, own: Figures, language: str = "en") -> dict[str, str]:
    """Give every figure that a template may name."""
    found: dict[str, Any] = {f"{n}.{k}": v for n in STYLES for k, v in _style(figures, n)}
    for letter in STYLES:
        reached = figures["imports"][letter]
        found[f"{letter}.reaches"] = _REACHES[language][reached["session"], reached["engine"]]
    found |= {f"uses.{name}": count for name, count in figures["uses"].items()}
    found |= {f"on.{name}": value for name, value in figures["on"].items()}
    for kind in ("cpu", "wall"):
        found[f"even.{kind}"] = _span(
            took[letter][kind] for took in figures["latency"].values() for letter in "de"
        )
        found[f"left.{kind}"] = _span(took[kind] for took in figures["leaving"]["latency"].values())
        found[f"slice.{kind}"] = _span(took[kind] for took in own["latency"].values())
    found["asked.rows"] = len({one["row"] for one in figures["contract"]} - {None})
    found["life.ms"] = round(sum(t["c"]["wall"]["ms"] for t in figures["latency"].values()))
    found |= _leaving(figures["leaving"])
    found |= {f"slice.{name}": value for name, value in _slice(own)}
    return {name: str(value) for name, value in found.items()}


def _style(figures: Figures, letter: str) -> Iterator[tuple[str, Any]]:
    """Give the figures of one style."""
    cells = [(p["row"], p["found"][letter]) for p in figures["contract"] if letter in p["found"]]
    broken = {row for row, cell in cells if not cell["holds"]}
    yield from (("asked", len(cells)), ("kept", sum(cell["holds"] for _, cell in cells)))
    yield "rows", len(broken)
    yield from figures["packages"][letter].items()
    yield from ((name, one[letter]["lines"]) for name, one in figures["changes"].items())
    yield "changes", sum(figures["changes"][change][letter]["lines"] for change in CHANGES)
    for what in ("statements", "transactions"):
        told = [figures["statements"][scenario][letter][what] for scenario in SCENARIOS]
        yield what, " + ".join(map(str, told))
    yield "race", figures["lost_races"][letter]
    for scenario, name in SCENARIOS.items():
        for kind, took in figures["latency"][scenario][letter].items():
            yield f"{kind}_{name}", _ratio(took, is_base=letter == "c")
    yield from figures["branches"][letter].items()
    yield from (item for item in figures["imports"][letter].items() if item[0] != "modules")
    for kind, planted in figures["mistakes"].items():
        first = [one["first"][letter] for one in planted]
        yield from ((f"{kind}_{who}", first.count(who)) for who in CATCHERS)
        if kind == "transactions":
            own = first.count("inherent")
            yield "inherent", f" + {own}" if own else ""


def _leaving(left: Figures) -> dict[str, Any]:
    steps = left["steps"]
    sums = ("added", "deleted", "seconds")
    found = {f"leaving.{name}": sum(step[name] for step in steps) for name in sums}
    found |= {"leaving.files": left["files"], "leaving.steps": len(steps)}
    found["leaving.race_before"] = steps[0]["lost_race"]
    found["leaving.race_after"] = steps[-1]["lost_race"]
    return found


def _slice(own: Figures) -> Iterator[tuple[str, Any]]:
    yield from own["files"]["src"].items()
    yield "tests", own["tests"]["passed"] - own["tests"]["brought"]
    yield "test_lines", own["files"]["tests"]["added"]
    yield from own["branches"].items()
    yield "base", own["base"][:7]


def _ratio(took: dict[str, float], *, is_base: bool) -> str:
    return "1" if is_base else "{ratio:.2f} ({low:.2f}–{high:.2f})".format(**took)


def _span(ratios: Iterable[dict[str, float]]) -> str:
    """Give the lowest and the highest of some median ratios."""
    medians = [one["ratio"] for one in ratios]
    return f"{min(medians):.2f}–{max(medians):.2f}"


def _table(given: dict[str, str], language: int) -> Iterator[str]:
    yield "| | (a) | (b) | (c) | (d) | (e) |\n|---|---|---|---|---|---|"
    for cell, *labels in ROWS:
        told = [
            cell.format(**{k[2:]: v for k, v in given.items() if k.startswith(f"{letter}.")})
            for letter in STYLES
        ]
        yield f"| {labels[language]} | {' | '.join(told)} |"


def _steps(figures: Figures, language: str) -> Iterator[str]:
    for number, step in enumerate(figures["leaving"]["steps"], 1):
        name = _STEPS[language].get(step["step"], step["step"])
        heard = " + ".join(str(step["statements"][one]["statements"]) for one in SCENARIOS)
        yield (
            f"| {number}. {name} | {step['files']} | +{step['added']} −{step['deleted']} | {heard} "
            f"| {step['lost_race']} | {step['seconds']} |"
        )


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
