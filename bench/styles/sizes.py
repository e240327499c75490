"""How much there is to read, and how much a change touches."""

import ast
import io
import tokenize
from pathlib import Path
from typing import Any, Final

from styles.outer import STYLES

from bench.styles.copies import CHANGES, NEW_SCENARIO, SOURCE, Touched, folder_of, numstat

_NO_CODE: Final = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


def sizes() -> dict[str, Any]:
    """Give modules and lines of each style, and what every prepared patch touches."""
    return {
        "packages": {letter: _package(letter) for letter in STYLES},
        "changes": {
            change: {letter: _touched(_patch(change, letter)) for letter in STYLES}
            for change in (*CHANGES, NEW_SCENARIO)
        },
    }


def modules(letter: str) -> list[Path]:
    """Give the modules of a style that are counted."""
    uncounted = {"__init__.py", "as_written.py"}
    return sorted(p for p in folder_of(letter).glob("*.py") if p.name not in uncounted)


def code_lines(text: str) -> set[int]:
    """Give the numbers of the lines on which code stands."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {
        line
        for token in tokens
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return lines


def _package(letter: str) -> dict[str, int]:
    texts = [path.read_text("utf-8") for path in modules(letter)]
    return {"modules": len(texts), "lines": sum(len(code_lines(text)) for text in texts)}


def _patch(change: str, letter: str) -> Path:
    return SOURCE / "changes" / change / f"{letter}.patch"


def _touched(patch: Path) -> dict[str, int]:
    files: list[Touched] = numstat(patch)
    return {
        "files": len(files),
        "lines": sum(touched.added + touched.deleted for touched in files),
    }
