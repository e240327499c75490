"""Nothing of the pages is left in English by chance, and every code has its sentence."""

import io
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import denizen
from denizen.doctor.findings import SENTENCES
from denizen.errors import Issue
from denizen.http.problems import PROBLEMS
from denizen.imports.files import ENCODINGS
from denizen.imports.model import REASONS, OnConflict, State
from denizen.imports.recipes import FIELDS, RecipeName
from denizen.mail.message import KINDS
from denizen.pages.complaints import about_all, about_field
from denizen.pages.console import import_words
from denizen.pages.console.findings import finding_sentences, finding_subjects
from denizen.pages.console.meanings import mail_kinds, setting_meanings
from denizen.pages.events import event_name
from denizen.pages.templates import Templates
from denizen.pages.words import Words, all_words, zone_of
from denizen.settings import Settings

SOURCE = Path(denizen.__file__).parent
PAGES = SOURCE / "pages"
NOW = datetime(2026, 11, 3, 14, 5, tzinfo=UTC)
RUSSIAN = io.BytesIO((PAGES / "locale" / "ru.po").read_bytes())
MESSAGES = [message for message in read_po(RUSSIAN, locale="ru") if message.id]


def _texts(of: Any) -> list[str]:
    return [of] if isinstance(of, str) else list(of)


def test_every_word_of_the_pages_is_translated() -> None:
    """What code and templates say stands in `ru.po`, and nothing else does: `make words`."""
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text("utf-8"))
    mappings = project["tool"]["babel"]["mappings"]
    found = extract_from_dir(
        PAGES,
        method_map=[(m["pattern"], m["method"]) for m in mappings],
        options_map={m["pattern"]: m for m in mappings},
    )
    said = {(message, context) for _, _, message, _, context in found}

    assert said == {(m.id, m.context) for m in MESSAGES}
    assert [m.id for m in MESSAGES if not all(_texts(m.string))] == []
    assert [m.id for m in MESSAGES if m.fuzzy] == []


def test_translations_have_the_same_placeholders() -> None:
    """A sentence that names an address names it in both languages; and no tag stands in any."""
    for message in MESSAGES:
        wanted = {frozenset(_placeholders(text)) for text in _texts(message.id)}
        told = {frozenset(_placeholders(text)) for text in _texts(message.string)}
        assert wanted == told, message.id
        assert not re.search("<(?!no-reply@)", "".join(_texts(message.string)))


def _placeholders(text: str) -> list[str]:
    return re.findall(r"%\((\w+)\)[sd]|%%", text)


def test_russian_keeps_its_own_signs() -> None:
    """Guillemets and no ё left out where the glossary has it."""
    for message in MESSAGES:
        text = " ".join(_texts(message.string))
        assert '"' not in text
        assert "“" not in text
        assert not re.search(r"\b[Уу]четн|подтвержден\b|\bвсе, что|\bеще\b", text), text


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "Завершён 1 другой сеанс."),
        (2, "Завершены 2 других сеанса."),
        (5, "Завершено 5 других сеансов."),
        (11, "Завершено 11 других сеансов."),
        (21, "Завершён 21 другой сеанс."),
        (104, "Завершены 104 других сеанса."),
    ],
)
def test_russian_counts_in_three_forms(number: int, said: str) -> None:
    """One, few and many."""
    words = Words("ru")
    many = "%(num)d other devices are signed out."

    told = words.ngettext("%(num)d other device is signed out.", many, number) % {"num": number}
    assert told == said


def test_instants_are_told_in_words_of_the_language() -> None:
    """Day, month, year and zone; recent ones as how long ago they were."""
    english, russian = all_words().values()

    assert english.moment(NOW) == "3 Nov 2026, 14:05 UTC"
    assert russian.moment(NOW) == "3 нояб. 2026, 14:05 UTC"
    assert english.ago(NOW - timedelta(hours=2), NOW) == "2 hours ago"
    assert russian.ago(NOW - timedelta(days=2), NOW) == "2 дня назад"
    assert [w.ago(NOW, NOW) for w in (english, russian)] == ["just now", "только что"]
    assert english.ago(NOW - timedelta(days=8), NOW) == "26 Oct 2026"
    assert english.ago(NOW + timedelta(seconds=1), NOW) == "3 Nov 2026"
    assert russian.later(60) == "через 60 секунд"


def test_zone_of_the_browser_is_used_when_it_is_one() -> None:
    """A cookie may hold anything."""
    assert Words("en").day(datetime(2026, 11, 3, 23, tzinfo=UTC), zone_of("Asia/Tokyo")) == (
        "4 Nov 2026"
    )
    for name in ("", "Nowhere/At_All", "../../etc/passwd", "\x00", "A" * 5000, "Europe", "/etc"):
        assert zone_of(name) is UTC


def test_every_error_has_a_sentence_of_its_own() -> None:
    """What a form may answer is told in words; only what no form can raise shares a last one."""
    words = Words("en")
    shared = about_all(words, ValueError())
    told = {kind.__name__: about_all(words, _made(kind)) for kind in PROBLEMS}
    without = {name for name, said in told.items() if said == shared}

    assert without == {
        "InvalidError",  # its fields have the words
        "TakenError",
        "PasswordWrongError",
        "NotSignedInError",  # leads to the sign-in page
        "IdempotencyMismatchError",
        "IdempotencyBusyError",
        "CursorError",
        "ReferenceMissingError",
        "ConstraintError",
        "ConflictError",
    }


def _made(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    error.__dict__["retry_after"] = 3
    return error


def test_every_issue_of_a_form_has_a_sentence() -> None:
    """The codes that the rules of values and passwords raise."""
    words = Words("en")
    unknown = about_field(words, Issue("x", "x", ""), minimum=15)
    text = "".join(
        (SOURCE / name).read_text("utf-8") for name in ("users/values.py", "passwords/rules.py")
    )
    codes = {*re.findall(r'Issue\("\w+", "(\w+)"', text), "email_taken", "username_taken"}
    codes |= {f"password_{code}" for code in re.findall(r'_refused\("(\w+)"', text)}

    assert codes >= {"email_invalid", "username_invalid", "password_too_short"}
    for code in codes:
        assert about_field(words, Issue("x", code, ""), minimum=15) != unknown, code


def test_every_event_has_a_name() -> None:
    """Each action that is recorded anywhere."""
    text = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    actions = set(
        re.findall(
            r'"((?:user|session|password|email|key|import|mail)\.[a-z_]+|users\.exported)"', text
        )
    )

    assert {a for a in actions if event_name(Words("ru"), a) == a} == set()


def test_every_finding_of_the_doctor_is_there() -> None:
    """In English as the command line says it, in Russian with the same placeholders."""
    text = "".join(path.read_text("utf-8") for path in (SOURCE / "doctor").glob("*.py"))
    codes = set(re.findall(r'Finding\("\w+", "(\w+)", "(\w+)"', text))

    assert finding_sentences(Words("en")) == SENTENCES
    assert {code for _, code in codes} == SENTENCES.keys()
    assert {about for about, _ in codes} == finding_subjects(Words("en")).keys()


def test_every_setting_and_mail_is_there() -> None:
    """In English as `denizen settings` says it."""
    described = {name: field.description for name, field in Settings.model_fields.items()}

    assert setting_meanings(Words("en")) == described
    assert mail_kinds(Words("en")).keys() == set(KINDS)


def test_every_word_of_an_import_is_there() -> None:
    """States, options, fields and reasons, in English as the API says them; why files fail."""
    words = Words("en")
    text = "".join(path.read_text("utf-8") for path in (SOURCE / "imports").glob("*.py"))
    codes = set(re.findall(r'FileError\("(\w+)"', text) + re.findall(r'"code": "(\w+)"', text))

    assert import_words.reasons(words) == REASONS
    assert import_words.file_problems(words).keys() == codes
    assert import_words.filled_names(words).keys() == set(FIELDS)
    assert import_words.state_names(words).keys() == set(get_args(State))
    assert import_words.conflict_names(words).keys() == set(get_args(OnConflict))
    assert import_words.recipe_names(words).keys() == {"", *get_args(RecipeName)}
    assert import_words.encoding_names(words).keys() == {"", *ENCODINGS}


def test_templates_escape_whatever_their_names() -> None:
    """T-XSS-1: autoescape is on for every template, and a missing fact is an error."""
    templates = Templates(all_words(), {})
    for environment in templates._environments.values():
        assert environment.autoescape is True
        text = environment.from_string("{{ x }} {{ _('%(x)s', x=x) }}").render(x="<b>")
        assert text == "&lt;b&gt; &lt;b&gt;"


def test_templates_switch_no_escaping_off() -> None:
    """No template calls a value safe."""
    for path in (PAGES / "templates").rglob("*.html"):
        assert not re.search(r"\|\s*safe|autoescape|Markup", path.read_text("utf-8")), path
