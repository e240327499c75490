"""`make bench`: every goal in one run, against the peers that can do the same.

Method: one embedded PostgreSQL with fsync and 100,000 users for each program; each program under
one server process on the same machine (granian; node for better-auth), a pool of 16. Programs take
turns, so that whatever else the machine does hits all of them; ratios are of one turn, and the
table gives their median with the lowest and the highest. Server, database and load share the cores,
so only ratios count. QUICK=1 takes fewer users and rounds. `python -m bench docs/speed` leaves the
figures and the chart of `docs/speed.md`.

* Who am I: 16 keep-alive connections, wrk where it is installed, else `bench.load`.
* A storm: 4 connections read, then 16 sign in, then both at once.
* Lists, search, import and export: a million users; import and export once (`make bench-bulk` does
  them three times).
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import argon2

from bench.bulk import measure as measure_bulk
from bench.chart import chart
from bench.goals import goals, spread
from bench.lists import measure as measure_lists
from bench.programs import HAND, OURS, PASSWORD, PROGRAMS, Accounts, prepare_ours, running
from bench.starting import seconds_of_second_start
from bench.verbs import ratio_of_get_by_id
from denizen.cores import cores
from denizen.db.embedded import EmbeddedServer

QUICK: Final = bool(os.environ.get("QUICK"))
USERS: Final = 10_000 if QUICK else 100_000
LISTED: Final = 20_000 if QUICK else 1_000_000
ROUNDS: Final = 3 if QUICK else 7
STORMS: Final = 2 if QUICK else 5
BULKS: Final = 1
SECONDS: Final = 2.0 if QUICK else 4.0
IN_A_STORM: Final = (HAND, OURS, "fastapi-users 15.0.5, database tokens", "better-auth 1.7.25")
_WRK: Final = """\
local requests = {{
{requests}
}}
local n = {offset}
function request() n = n % #requests + 1; return requests[n] end
"""
Figures = dict[str, Any]


def main() -> None:
    """Run everything, print the tables, and leave the figures as JSON and a chart."""
    with tempfile.TemporaryDirectory(prefix="denizen-bench-") as name:
        figures = _compare(Path(name) / "compared")
        figures["get_by_id"] = _on_a_server(Path(name) / "verbs", ratio_of_get_by_id)
        figures["second_start_s"] = seconds_of_second_start(Path(name) / "start")
        figures["lists"] = _on_a_server(
            Path(name) / "lists", lambda server: measure_lists(server, LISTED)
        )
        figures["bulk"] = measure_bulk(Path(name) / "bulk", LISTED, BULKS)
    _print(figures)
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench-results")
    out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".svg").write_text(chart(figures), encoding="utf-8")


def _on_a_server(folder: Path, measure: Any) -> Any:
    with _server(folder) as server:
        return asyncio.run(measure(server))


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[EmbeddedServer]:
    folder.mkdir()
    server = EmbeddedServer.for_service(folder, max_connections=200)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _compare(folder: Path) -> Figures:
    with _server(folder) as server, contextlib.ExitStack() as stack:
        shared = asyncio.run(prepare_ours(server, USERS))
        there = [program for program in PROGRAMS if program.is_there]
        for program in PROGRAMS:
            if program not in there:
                print(f"left out, for it is not installed: {program.name}", file=sys.stderr)
        ports: dict[str, int] = {}
        accounts: dict[str, Accounts] = {}
        for program in there:
            found = stack.enter_context(running(program, server, USERS))
            ports[program.name] = found.port
            accounts[program.name] = (
                shared if program.database == "denizen" else program.fill(found)
            )
        return {
            "users": USERS,
            "cores": cores(),
            "who_am_i": _reading(ports, accounts, folder),
            "storm": _storms(ports, accounts),
            "beyond": _beyond(ports[OURS], accounts[OURS]),
        }


def _reading(
    ports: dict[str, int], accounts: dict[str, Accounts], folder: Path
) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in ports}
    for name, port in ports.items():
        _read(port, accounts[name], 1.0, folder)
    for _ in range(ROUNDS):
        for name, port in ports.items():
            rates[name].append(_read(port, accounts[name], SECONDS, folder))
    return rates


def _read(port: int, accounts: Accounts, seconds: float, folder: Path) -> float:
    """Give how many reads a second 16 connections get."""
    if shutil.which("wrk") is None:
        return rate_of(load(port, accounts.reads, seconds, 16), "200")
    script = folder / "reads.lua"
    texts = ",\n".join(json.dumps(text) for text in accounts.reads)
    script.write_text(_WRK.format(requests=texts, offset=0), encoding="utf-8")
    words = ["wrk", "-t1", "-c16", f"-d{seconds:.0f}s", "-s", str(script)]
    done = subprocess.run(
        [*words, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
    )
    if "Non-2xx" in done.stdout:
        raise RuntimeError(f"expected 200 alone: {done.stdout}")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", done.stdout)[0])


def _storms(ports: dict[str, int], accounts: dict[str, Accounts]) -> dict[str, list[Figures]]:
    names = [name for name in IN_A_STORM if name in ports]
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(STORMS):
        for name in names:
            found[name].append(_storm(ports[name], accounts[name]))
    return found


def _storm(port: int, accounts: Accounts) -> Figures:
    hash_seconds = _hash_seconds()
    calm = load(port, accounts.reads, SECONDS, 4)
    alone = load(port, accounts.sign_ins, SECONDS, 16)
    with ThreadPoolExecutor(2) as pool:
        signing = pool.submit(load, port, accounts.sign_ins, SECONDS + 1, 16)
        time.sleep(0.5)
        stormy = pool.submit(load, port, accounts.reads, SECONDS, 4).result()
        meanwhile = signing.result()
    return {
        "hash_seconds": hash_seconds,
        "calm_p99_ms": calm["statuses"]["200"]["p99"],
        "calm_reads_s": rate_of(calm, "200"),
        "alone_s": rate_of(alone, "200", "201"),
        "storm_p99_ms": stormy["statuses"]["200"]["p99"],
        "storm_reads_s": rate_of(stormy, "200"),
        "storm_sign_ins_s": rate_of(meanwhile, "200", "201"),
    }


def _beyond(port: int, accounts: Accounts) -> Figures:
    """Have 128 sign in at once, of whom most must be refused soon."""
    found = load(port, accounts.sign_ins, SECONDS, 128)["statuses"]
    refused = [found[status] for status in ("429", "503") if status in found]
    return {
        "statuses": {status: one["answers"] for status, one in found.items()},
        "refused_p99_ms": max((one["p99"] for one in refused), default=None),
        "refused_max_ms": max((one["max"] for one in refused), default=None),
    }


def _hash_seconds() -> float:
    hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        hasher.hash(PASSWORD)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def load(port: int, requests: list[str], seconds: float, connections: int) -> Figures:
    """Ask a program for some seconds; give the answers by their status."""
    command = [sys.executable, "-m", "bench.load", str(port), str(seconds), str(connections)]
    done = subprocess.run(
        command, input=json.dumps(requests), capture_output=True, text=True, check=True
    )
    found: Figures = json.loads(done.stdout)
    return found


def rate_of(found: Figures, *statuses: str) -> float:
    """Give how many answers a second had one of these statuses."""
    answers = sum(found["statuses"].get(status, {"answers": 0})["answers"] for status in statuses)
    return float(answers / found["seconds"])


def _print(figures: Figures) -> None:
    print(f"{figures['users']:,} users, {figures['cores']} cores shared by all")
    print("\nWho am I, 16 connections: reads a second; ratio to the hand-written one")
    yardstick = figures["who_am_i"][HAND]
    for name, rates in figures["who_am_i"].items():
        print(f"  {name:<42} {statistics.median(rates):>7,.0f}   {spread(rates, yardstick)}")
    print("\nA storm of 16 that sign in, 4 that read: medians")
    for name, rounds in figures["storm"].items():
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        waits = f"{middle['calm_p99_ms']:.0f} -> {middle['storm_p99_ms']:.0f} ms"
        reads = f"{middle['calm_reads_s']:,.0f} -> {middle['storm_reads_s']:,.0f}/s"
        signed_in = f"{middle['alone_s']:.0f} -> {middle['storm_sign_ins_s']:.0f}/s"
        print(f"  {name:<42} reads p99 {waits}, {reads}; sign-ins {signed_in}")
    print("\nGoals")
    for line, goal in goals(figures):
        print(f"  {line:<66} goal {goal}")


if __name__ == "__main__":
    main()
