"""Reading files of users: what kind, which encoding and columns; then record by record.

CSV (comma, semicolon or tab), JSON Lines, a JSON document with a list of `users` (Firebase), and
the `COPY` block of a dump (pg_dump). UTF-8 with or without a byte order mark, UTF-16, Windows-1251.
Memory stays flat. What the columns mean stands in `recipes.py`.
"""

import codecs
import contextlib
import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Literal, get_args

import orjson

Kind = Literal["csv", "jsonl", "json", "dump"]
Encoding = Literal["utf-8", "utf-16", "windows-1251"]
ENCODINGS: Final[tuple[Encoding, ...]] = get_args(Encoding)
Record = tuple[int, Sequence[Any] | None]

_HEAD: Final = 64 * 1024  # bytes that tell what a file is
_CHUNK: Final = 256 * 1024
_LONGEST_OBJECT: Final = 4 * 1024 * 1024  # characters of one user in a JSON document
_MOST_COLUMNS: Final = 500
_UTF_8: Final = "utf-8-sig"  # takes a byte order mark, and does without
_DELIMITERS: Final = ",;\t"
_JSON_LIST: Final = re.compile(r'\s*(\{\s*"users"\s*:\s*)?\[')
_BETWEEN: Final = re.compile(r"[\s,]*")
_COPY: Final = re.compile(
    r'COPY ("?\w+"?\.)?"?(auth_)?users?"? \((?P<columns>[^)]+)\) FROM stdin;', re.ASCII
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# Beyond ASCII, Russian in Windows-1251 has these bytes alone: letters, №, quotes, dashes. Broken
# UTF-8 has others, too; Latin-1 reads as Cyrillic letters amid Latin ones.
_RUSSIAN: Final = re.compile(
    rb"[\x00-\x7f\xa8\xb8\xb9\xab\xbb\x84\x85\x93\x94\x96\x97\xa0\xc0-\xff]*"
)
_MIXED_WORD: Final = re.compile("[A-Za-z][А-яЁё]|[А-яЁё][A-Za-z]")


# archives, images, documents: what people upload by mistake
_NO_TEXT: Final = (
    b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd", b"Rar!", b"%PDF",
    b"\x89PNG", b"\xff\xd8\xff", b"\xd0\xcf\x11\xe0", b"PGDMP", b"SQLite format 3",
)  # fmt: skip


class FileError(Exception):
    """Raised when a file can't be read as a whole: nothing of it is imported.

    Attributes:
        code: a stable word.
        message: a sentence; of what stood in the file it holds names of columns at most.
        line: where; 0 for the file as such.
    """

    def __init__(self, code: str, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.code = code
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be read; `encoding` as Python calls it."""

    kind: Kind
    encoding: str
    columns: tuple[str, ...]
    delimiter: str = ","


@dataclass(frozen=True, slots=True)
class Survey:
    """What a whole file is: its layout, how many records it has, its SHA-256, its octets."""

    layout: Layout
    records: int
    digest: bytes
    size: int


def sniff(path: Path, encoding: Encoding | None = None) -> Layout:
    """Tell the layout by the file's beginning; the columns of JSON only the whole file tells.

    Raises:
        FileError: neither CSV nor JSON nor a dump, or its first line names no columns.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    codec = _codec(encoding) or _guess(lambda: iter([head]))
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError as error:
        raise _no_text(codec, 1 + head.count(b"\n", 0, error.start)) from None
    return _layout(text, codec)


def survey(path: Path, encoding: Encoding | None = None) -> Survey:
    """Read the whole file once and tell what it is.

    Raises:
        FileError: it can't be read to its end: encoding, quotes, nesting; tells the line.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
        size = stream.tell()
    layout = sniff(path, encoding or _name(_guess(lambda: _chunks(path))))
    if layout.kind in {"csv", "dump"}:
        return Survey(layout, sum(1 for _ in records(path, layout)), digest, size)
    columns: dict[str, None] = {}
    count = 0
    for _, found in _read(path, layout, _objects):
        count += 1
        columns |= dict.fromkeys(found or ())
        if len(columns) > _MOST_COLUMNS:
            raise FileError("columns", f"there are more than {_MOST_COLUMNS} different names")
    if not columns:
        raise FileError("json_invalid", "there is no JSON object in the file")
    return Survey(replace(layout, columns=tuple(columns)), count, digest, size)


def beginning(path: Path, encoding: Encoding | None, count: int) -> tuple[Layout, list[Record]]:
    """Give the first records of a file, and its layout as far as they tell it.

    Raises:
        FileError: as `survey`, as far as is read.
    """
    layout = sniff(path, encoding)
    if layout.kind in {"csv", "dump"}:
        return layout, list(islice(records(path, layout), count))
    objects = list(islice(_read(path, layout, _objects), count))
    columns = tuple(dict.fromkeys(name for _, found in objects for name in found or ()))
    cells: list[Record] = [(n, o and tuple(map(o.get, columns))) for n, o in objects]
    return replace(layout, columns=columns), cells


def records(path: Path, layout: Layout) -> Iterator[Record]:
    """Give each record: the line where it begins, and its cells in the order of the columns.

    Cells are text, in JSON values. A line of JSON Lines that is no object has None for cells.

    Raises:
        FileError: as `survey`.
    """
    if layout.kind == "csv":
        yield from _read(path, layout, _rows)
    elif layout.kind == "dump":
        yield from _read(path, layout, _dumped)
    else:
        for line, found in _read(path, layout, _objects):
            yield line, None if found is None else tuple(map(found.get, layout.columns))


def _read(
    path: Path, layout: Layout, reader: Callable[[IO[str], Layout], Iterator[tuple[int, Any]]]
) -> Iterator[tuple[int, Any]]:
    with path.open(encoding=layout.encoding, newline="") as stream:
        try:
            yield from reader(stream, layout)
        except UnicodeDecodeError:
            line = _line_of_first_fault(path, layout.encoding)
            raise _no_text(layout.encoding, line) from None


def _rows(stream: IO[str], layout: Layout) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(stream, delimiter=layout.delimiter, strict=True)
    line = 0
    try:
        for row in reader:
            if row and line:
                yield line + 1, row
            line = reader.line_num
    except csv.Error:
        message = "a quote is not closed, or stands inside a cell without being doubled"
        raise FileError("csv_invalid", message, line + 1) from None


def _dumped(stream: IO[str], _layout: Layout) -> Iterator[tuple[int, list[str | None]]]:
    line = 0
    is_inside = False
    for line, text in enumerate(stream, 1):
        if not is_inside:
            is_inside = _COPY.match(text) is not None
        elif text.rstrip("\r\n") == r"\.":
            return
        else:
            yield line, [_unescaped(cell) for cell in text.rstrip("\n").split("\t")]
    raise FileError("dump_cut", "the dump ends in the middle of the table", line)


def _unescaped(cell: str) -> str | None:
    if "\\" not in cell:
        return cell
    if cell == r"\N":
        return None
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), cell)


def _objects(stream: IO[str], layout: Layout) -> Iterator[tuple[int, dict[str, Any] | None]]:
    if layout.kind == "json":
        yield from _listed(stream)
        return
    for line, text in enumerate(stream, 1):
        if text.strip():
            yield line, _object(text)


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _listed(stream: IO[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the objects of a list one after another: a part of the document is in memory."""
    decoder = json.JSONDecoder()
    text = stream.read(_CHUNK)
    opening = _JSON_LIST.match(text)
    position = opening.end() if opening else 0
    line = 1 + text.count("\n", 0, position)
    while True:
        begin = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # matches nothing, too
        line += text.count("\n", position, begin)
        if text.startswith("]", begin):
            return
        try:
            found, position = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            more = stream.read(_CHUNK)
            if not more or len(text) - begin > _LONGEST_OBJECT:
                raise FileError("json_invalid", "this is not JSON", line) from None
            text, position = text[begin:] + more, 0
            continue
        if not isinstance(found, dict):
            raise FileError("json_invalid", "the list holds something else than users", line)
        yield line, found
        line += text.count("\n", begin, position)


def _layout(text: str, codec: str) -> Layout:
    begin = text.lstrip()
    if begin.startswith(("{", "[")):
        first = _object(begin.partition("\n")[0])
        is_list = _JSON_LIST.match(begin) and (first is None or first.keys() == {"users"})
        return Layout("json" if is_list else "jsonl", codec, ())
    if begin.startswith(("--", "\\restrict", "SET ", "COPY ")):
        found = _COPY.search(text)
        if found is None:
            raise FileError("dump_unknown", "the dump does not begin with a table of users")
        names = (name.strip(' "') for name in found["columns"].split(","))
        return Layout("dump", codec, _header(names))
    return _csv_layout(text, codec)


def _csv_layout(text: str, codec: str) -> Layout:
    heads = []
    for delimiter in _DELIMITERS:
        with contextlib.suppress(csv.Error, StopIteration):
            row = next(csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True))
            heads.append((len(row), delimiter, row))
    if not heads:
        raise FileError("csv_invalid", "the first line does not name the columns", 1)
    _, delimiter, names = max(heads, key=lambda head: head[0])
    return Layout("csv", codec, _header(name.strip() for name in names), delimiter)


def _header(names: Iterator[str]) -> tuple[str, ...]:
    columns = tuple(names)
    if not columns or any("@" in name or not name for name in columns):
        raise FileError("header_missing", "the first line does not name the columns", 1)
    if len(columns) > _MOST_COLUMNS or len(set(columns)) < len(columns):
        raise FileError("columns", "the first line names a column twice, or too many", 1)
    return columns


def _guess(chunks: Callable[[], Iterator[bytes]]) -> str:
    """Give the codec: by its mark, or else UTF-8; Windows-1251 where it can be nothing else."""
    first = next(chunks(), b"")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in first or first.startswith(_NO_TEXT):
        raise FileError("not_text", "this is neither CSV nor JSON")
    if _is_utf_8(chunks()) or not all(map(_is_russian, chunks())):
        return _UTF_8
    return "cp1251"


def _is_utf_8(chunks: Iterator[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder(_UTF_8)()
    try:
        for chunk in chunks:
            decoder.decode(chunk)
    except UnicodeDecodeError:
        return False
    return True


def _is_russian(chunk: bytes) -> bool:
    if _RUSSIAN.fullmatch(chunk) is None:
        return False
    return _MIXED_WORD.search(chunk.decode("cp1251")) is None


def _codec(encoding: Encoding | None) -> str | None:
    return {"utf-8": _UTF_8, "utf-16": "utf-16", "windows-1251": "cp1251", None: None}[encoding]


def _name(codec: str) -> Encoding:
    return next(name for name in ENCODINGS if _codec(name) == codec)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _line_of_first_fault(path: Path, codec: str) -> int:
    decoder = codecs.getincrementaldecoder(codec)()
    lines = 1
    try:
        for chunk in _chunks(path):
            lines += decoder.decode(chunk).count("\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        lines += error.object.count(b"\n", 0, error.start)
    return lines


def _no_text(codec: str, line: int) -> FileError:
    if codec == _UTF_8:
        message = "this is not UTF-8; if it is another encoding, say which"
    else:
        message = "this can't be read in that encoding"
    return FileError("encoding", message, line)
