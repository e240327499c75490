"""Figures of `denizen serve`: real worker processes, counted as one service."""

import os
import signal
import time
import urllib.request
from functools import partial
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from denizen.db.testing import Databases
from processes import Service, command, free_port, serving

ASKED = ("denizen_requests_total", {"method": "GET", "route": "/v1/me", "status": "4xx"})
ALIVE: tuple[str, dict[str, str]] = ("denizen_processes", {})


def _figure(port: int, wanted: tuple[str, dict[str, str]]) -> float | None:
    """Give a figure; None when the process that was to answer is just being killed."""
    try:
        return _told(port, wanted)
    except OSError:
        return None


def _told(port: int, wanted: tuple[str, dict[str, str]]) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=15) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if (sample.name, sample.labels) == wanted:
                return sample.value
    return 0


def _until(port: int, wanted: tuple[str, dict[str, str]], value: float) -> None:
    """Wait until each of some scrapes in a row, whoever answers, gives that value."""
    deadline = time.monotonic() + 20
    while (found := {_figure(port, wanted) for _ in range(6)}) != {value}:
        assert time.monotonic() < deadline, (wanted, found)
        time.sleep(0.2)


def _ask_me(service: Service, times: int) -> None:
    assert {service.ask("GET", "/v1/me").status for _ in range(times)} == {401}


def test_figures_of_all_workers_add_up_and_outlive_a_killed_one(
    tmp_path: Path, databases: Databases
) -> None:
    """Whichever worker is asked tells of all; what a dead one counted stays; a new run is at 0."""
    folder, port = tmp_path / "data", free_port()
    running = partial(
        serving, DENIZEN_DATABASE_URL=databases.app_url, DENIZEN_METRICS_PORT=str(port)
    )
    with running(folder, "--workers", "2") as service:
        service.until("/readyz", 200)
        _until(port, ALIVE, 2)
        _ask_me(service, 30)
        _until(port, ASKED, 30)

        left = sorted((folder / "metrics").glob("*/*.json"))
        pids = {int(path.name.partition("-")[0]) for path in left}
        assert len(pids) == 2
        os.kill(pids.pop(), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len(sorted((folder / "metrics").glob("*/*.json"))) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        service.until("/readyz", 200)
        _ask_me(service, 10)
        _until(port, ASKED, 40)
        _until(port, ALIVE, 2)

    with running(folder, "--workers", "1") as service:
        service.until("/readyz", 200)
        _until(port, ALIVE, 1)
        assert _figure(port, ASKED) == 0


def test_port_of_the_figures_that_is_taken_is_named(tmp_path: Path, databases: Databases) -> None:
    """Two services with one such port: the second ends with 3, and names it."""
    port, url = free_port(), databases.app_url
    first = partial(serving, DENIZEN_DATABASE_URL=url, DENIZEN_METRICS_PORT=str(port))
    other = partial(command, DENIZEN_DATABASE_URL=url, DENIZEN_METRICS_PORT=str(port))
    with first(tmp_path / "one", "--workers", "1") as service:
        service.until("/readyz", 200)
        second = other(tmp_path / "two", "serve", "--port", str(free_port()))

    assert second.returncode == 3
    assert f"127.0.0.1 port {port}" in second.stderr
