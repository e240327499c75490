"""Cells that a spreadsheet shows and never computes."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from denizen.spreadsheet import inert, plain

CELLS = st.text(st.sampled_from(";=+-@＝＋－＠',\"\t\r\nxЯ"), max_size=10) | st.text(max_size=10)


@given(CELLS)
def test_cell_is_read_as_it_was_written(cell: str) -> None:
    """Whatever stands in it, and however often it goes there and back."""
    assert plain(inert(cell)) == cell
    assert plain(plain(inert(inert(cell)))) == cell


@given(st.lists(CELLS, min_size=1, max_size=3))
def test_t_csv_1_line_has_no_formula_whatever_parts_its_cells(cells: list[str]) -> None:
    """Split at a `;` whatever is quoted, as a spreadsheet does where a comma parts nothing."""
    stream = io.StringIO(newline="")
    csv.writer(stream).writerow(["id", *map(inert, cells)])
    line = stream.getvalue().removesuffix("\r\n")

    for separators in (";", ";\t", ";\r\n", ";\t\r\n"):
        text = line
        for separator in separators[1:]:
            text = text.replace(separator, ";")
        assert not [cell for cell in text.split(";") if cell[:1] in set("=+-@＝＋－＠")]


def test_formula_is_shown() -> None:
    """At the beginning and behind what may part cells; elsewhere it is none."""
    assert inert("=1;=2\t@3\n-4") == "'=1;'=2\t'@3\n'-4"
    assert inert("＝1;＋1;－1;＠1") == "'＝1;'＋1;'－1;'＠1"
    assert inert("a=1, =2") == "a=1, =2"
