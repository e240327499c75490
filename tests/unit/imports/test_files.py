"""Reading files: what they are, record by record, and where they are broken."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from denizen.imports.files import Encoding, FileError, records, sniff, survey

HEAD = "email,username\n"
ROWS = "анна@example.com,анна\nbob@example.com,bob\n"


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "users"
    path.write_bytes(content)
    return path


def _read(path: Path, encoding: Encoding | None = None) -> tuple[tuple[str, ...], list[Any]]:
    found = survey(path, encoding)
    rows = list(records(path, found.layout))
    assert found.records == len(rows)
    return found.layout.columns, rows


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ((HEAD + ROWS).encode(), None),
        ((HEAD + ROWS).encode("utf-8-sig"), None),
        ((HEAD + ROWS).encode("utf-8-sig"), "utf-8"),
        ((HEAD + ROWS).encode("utf-16"), None),
        (b"\xfe\xff" + (HEAD + ROWS).encode("utf-16-be"), None),
        ((HEAD + ROWS).encode("cp1251"), None),
        ((HEAD + ROWS).encode("cp1251"), "windows-1251"),
        ((HEAD + ROWS).replace("\n", "\r\n").encode(), None),
        ((HEAD + ROWS).replace("\n", "\r").encode(), None),
        ((HEAD + ROWS).replace(",", ";").encode(), None),
        ((HEAD + ROWS).replace(",", "\t").encode(), None),
        ((HEAD + ROWS).rstrip("\n").encode(), None),
        ((HEAD + "\n\n" + ROWS + "\n").encode(), None),
    ],
)
def test_csv_of_every_spelling_is_the_same(
    tmp_path: Path, content: bytes, encoding: Encoding | None
) -> None:
    """Encodings, marks, delimiters, line ends, empty lines: two users, two columns."""
    columns, rows = _read(_file(tmp_path, content), encoding)

    assert columns == ("email", "username")
    assert [cells for _, cells in rows] == [
        ["анна@example.com", "анна"],
        ["bob@example.com", "bob"],
    ]


def test_line_is_where_a_record_begins(tmp_path: Path) -> None:
    """Cells with line breaks and empty lines count; quotes and delimiters inside are text."""
    content = 'email,username\n"a@b.example","x\ny"\n\nc@d.example,"say ""hi"", you"\n'
    _, rows = _read(_file(tmp_path, content.encode()))

    assert rows == [(2, ["a@b.example", "x\ny"]), (5, ["c@d.example", 'say "hi", you'])]


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b'email,username\na@b.example,a\nc@d.example,"c\n', "csv_invalid", 3),
        (b'email,username\na@b.example,"a"x\nc@d.example,c\n', "csv_invalid", 2),
        (
            b"email,username\n" + b"a@b.example,a\n" * 9000 + b"\xd0@x.example,\xb0\n",
            "encoding",
            9002,
        ),
        ("email\nmüller@example.com\n".encode("latin-1"), "encoding", 2),
        ("email,username\nанна@x.example,анна\n".encode()[:-2], "encoding", 2),
        (b"ann@example.com,ann\nbob@example.com,bob\n", "header_missing", 1),
        (b"email,,username\n", "header_missing", 1),
        (b"email,email\n", "columns", 1),
        (b"", "csv_invalid", 1),
        (b"PK\x03\x04rest", "not_text", 0),
        (b"\x1f\x8b\x08rest", "not_text", 0),
        (b"\x89PNG\r\n\x1a\n", "not_text", 0),
        (b"%PDF-1.7\n", "not_text", 0),
        (b"email\0\n", "not_text", 0),
        (b'{"users": [{"email": "a@b.example"},\n {"email": ]}', "json_invalid", 2),
        (b'{"users": [{"email": "a@b.example"},\n 7]}', "json_invalid", 2),
        (b'{"users": [{"email": "a@b.example"}', "json_invalid", 1),
        (b'{"users": []}', "json_invalid", 0),
        (b"{nonsense\n[]\n", "json_invalid", 0),
        (b"--\nCOPY public.orders (id) FROM stdin;\n1\n\\.\n", "dump_unknown", 0),
        (b"--\nCOPY public.users (id, email) FROM stdin;\n1\ta@b.example\n", "dump_cut", 3),
    ],
)
def test_broken_file_is_refused_as_a_whole_with_its_line(
    tmp_path: Path, content: bytes, code: str, line: int
) -> None:
    """Encoding, quotes, header, nesting, archives: one error that repeats nothing of the file."""
    with pytest.raises(FileError) as caught:
        survey(_file(tmp_path, content))

    assert (caught.value.code, caught.value.line) == (code, line)
    assert "example" not in str(caught.value)


def test_unclosed_quote_does_not_swallow_a_large_file(tmp_path: Path) -> None:
    """A cell has an end, far before memory has."""
    path = _file(tmp_path, b'email\n"a@b.example\n' + b"c@d.example\n" * 100_000)

    with pytest.raises(FileError) as caught:
        survey(path)

    assert (caught.value.code, caught.value.line) == ("csv_invalid", 2)


def test_encoding_that_is_said_is_not_guessed(tmp_path: Path) -> None:
    """Serbian in Windows-1251 has letters that Russian lacks: refused, and taken when told."""
    path = _file(tmp_path, "email,username\na@b.example,Ђорђе\n".encode("cp1251"))
    with pytest.raises(FileError):
        survey(path)

    assert _read(path, "windows-1251")[1] == [(2, ["a@b.example", "Ђорђе"])]


def test_json_lines_keep_their_types_and_broken_lines_their_places(tmp_path: Path) -> None:
    """Columns are those of all objects; a line that is no object is a record without cells."""
    content = b'{"email": "a", "is_active": true}\n\n[1]\n{"email": 7, "extra": null}\noops\n'
    columns, rows = _read(_file(tmp_path, content))

    assert columns == ("email", "is_active", "extra")
    assert rows == [(1, ("a", True, None)), (3, None), (4, (7, None, None)), (5, None)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("wrapped", [True, False])
def test_json_document_is_read_user_by_user(
    tmp_path: Path, indent: int | None, *, wrapped: bool
) -> None:
    """As Firebase's tools write it, or any list of objects; strings may hold brackets."""
    users = [{"email": f"u{n}", "tags": ["]", {"a": "}"}]} for n in range(3)]
    text = json.dumps({"users": users} if wrapped else users, indent=indent)
    columns, rows = _read(_file(tmp_path, text.encode()))

    assert columns == ("email", "tags")
    assert [cells[0] for _, cells in rows] == ["u0", "u1", "u2"]
    lines = text.split("\n")
    assert all("{" in lines[line - 1] for line, _ in rows)


def test_dump_is_read_as_copy_wrote_it(tmp_path: Path) -> None:
    """The block of the table of users among others; NULL, tabs, newlines and backslashes."""
    content = (
        "--\n-- PostgreSQL database dump\n--\n\\restrict abc\nSET x = 1;\n"
        "COPY auth.audit (id) FROM stdin;\n1\n\\.\n"
        'COPY "auth"."users" ("id", "email", note) FROM stdin;\n'
        "1\ta@b.example\t\\N\n2\tc@d.example\tt\\tn\\nb\\\\x\n\\.\nSELECT 1;\n"
    )
    columns, rows = _read(_file(tmp_path, content.encode()))

    assert columns == ("id", "email", "note")
    assert rows == [
        (10, ["1", "a@b.example", None]),
        (11, ["2", "c@d.example", "t\tn\nb\\x"]),
    ]


def test_beginning_tells_what_a_file_is(tmp_path: Path) -> None:
    """A cut in the middle of a character is no fault of the file."""
    head = HEAD.encode()
    path = _file(tmp_path, head + b"x" * (64 * 1024 - len(head) - 1) + "я".encode() * 10)

    layout = sniff(path)

    assert (layout.kind, layout.encoding, layout.columns) == (
        "csv",
        "utf-8-sig",
        ("email", "username"),
    )


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_memory_stays_flat(tmp_path: Path, kind: str) -> None:
    """4 MB of users pass through fewer than 3."""
    if kind == "csv":
        content = b"email,note\n" + b"".join(
            b"u%d@b.example,%s\n" % (n, b"x" * 80) for n in range(40_000)
        )
    else:
        one = b'{"email": "u@b.example", "note": "%s"}' % (b"x" * 60)
        content = b'{"users": [' + b",\n".join([one] * 40_000) + b"]}"
    path = _file(tmp_path, content)
    del content
    tracemalloc.start()

    layout = survey(path).layout
    assert sum(1 for _ in records(path, layout)) == 40_000

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000
