"""Figures of several processes: added, left in a folder, written as text."""

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from denizen.db.tally import BOUNDS
from denizen.metrics.exposition import written
from denizen.metrics.figures import FAMILIES, Figures, added
from denizen.metrics.folder import MetricsFolder

SECONDS = [0.0] * (len(BOUNDS) + 2)


def _figures(count: int, in_use: int) -> Figures:
    took = [*SECONDS[:-1], 0.5 * count]
    took[-3] = count
    return {
        "denizen_requests": {("GET", "/v1/me", "2xx"): [count]},
        "denizen_request_seconds": {("GET", "/v1/me"): took},
        "denizen_pool_in_use": {("primary",): [in_use]},
    }


def _read(text: bytes) -> dict[str, Any]:
    families = text_string_to_metric_families(text.decode())
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in families
        for sample in family.samples
    }


def test_figures_of_processes_are_added_and_read_by_prometheus() -> None:
    """Counters, gauges and each step of a histogram, as the library's own parser reads them."""
    told = _read(written(added([_figures(2, 1), _figures(3, 4)])))

    name = [("method", "GET"), ("route", "/v1/me")]
    assert told[f"denizen_requests_total{[*name, ('status', '2xx')]}"] == 5
    assert told["denizen_pool_in_use[('server', 'primary')]"] == 5
    assert told[f"denizen_request_seconds_count{name}"] == 5
    assert told[f"denizen_request_seconds_sum{name}"] == 2.5
    assert told[f"denizen_request_seconds_bucket{sorted([*name, ('le', '10')])}"] == 5
    assert told[f"denizen_request_seconds_bucket{sorted([*name, ('le', '5')])}"] == 0


def test_what_the_dead_counted_stays_and_what_they_held_does_not(tmp_path: Path) -> None:
    """Whoever has been silent for seconds is taken for dead; a file of nonsense is passed over."""
    MetricsFolder.prepare(tmp_path / "run")
    here, there, gone = (MetricsFolder(tmp_path / "run") for _ in range(3))
    for number, folder in enumerate((here, there, gone), 1):
        folder.leave(_figures(number, number))
    there.leave(_figures(20, 7))
    (path,) = [p for p in (tmp_path / "run").glob("*.json") if p.stem == gone._name]
    told = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps(told | {"at": time.monotonic() - 60}))
    (tmp_path / "run" / "half.json").write_bytes(b'{"at"')

    total = added([_figures(100, 10), *here.others()])

    assert total["denizen_requests"] == {("GET", "/v1/me", "2xx"): [123]}
    assert total["denizen_pool_in_use"] == {("primary",): [17]}


def test_a_run_begins_with_an_empty_folder(tmp_path: Path) -> None:
    """Figures of the run before are gone, and nobody else may look."""
    MetricsFolder.prepare(tmp_path / "run")
    MetricsFolder(tmp_path / "run").leave(_figures(1, 1))
    MetricsFolder.prepare(tmp_path / "run")

    assert list(MetricsFolder(tmp_path / "run").others()) == []
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_in_the_docs(family: Any) -> None:
    """`docs/how-to/operate.md` names each figure with its labels."""
    page = Path(__file__).parents[3] / "docs" / "how-to" / "operate.md"
    suffix = "_total" if family.kind == "counter" else ""
    labels = ", ".join(f"`{label}`" for label in family.labels)

    assert f"| `{family.name}{suffix}` | {labels} | {family.meaning} |" in page.read_text("utf-8")
