"""Import and export by the million: `python -m bench.bulk [USERS]` (a million).

Method: one embedded PostgreSQL with fsync. The import is the command `denizen users import` as an
operator runs it, on a CSV of users with bcrypt hashes, one name in twenty in Cyrillic; its time is
from start to exit, its memory that of all its processes together, looked at 20 times a second.
What it is held against is one bare `COPY` of the very rows that it wrote, in the text form, into
the same table with the same indexes, from memory. The export is the command, too, against
`COPY TO` into a file, both after a VACUUM: who reads rows first notes for all others that they are
there. Rounds alternate; the table gives the medians and the ratios of each round.
"""

import asyncio
import contextlib
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
from uuid_utils import uuid4

from bench.goals import spread
from bench.machine import memory, tree
from bench.seed import make_schema
from denizen.cores import cores
from denizen.db.embedded import EmbeddedServer

ROUNDS = 3
HASH = "$2b$12$abcdefghijklmnopqrstuuW6l4bQ1n0mZ1r0Jr7q1sVQ1mB0c9Qy6"
DOMAINS = ("gmail.com", "gmail.com", "outlook.com", "yahoo.com", "mail.ru", "company{}.example")


def main() -> None:
    """Run and print the table."""
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="denizen-bulk-") as name:
        _print(measure(Path(name), users, ROUNDS))


def measure(folder: Path, users: int, rounds: int) -> dict[str, Any]:
    """Give the users, the seconds of each round by what was done, and the importer's memory."""
    folder.mkdir(exist_ok=True)
    _write(folder / "users.csv", users)
    server = EmbeddedServer.for_service(folder)
    server.start()
    try:
        return {"users": users} | asyncio.run(_measure(server, folder, users, rounds))
    finally:
        server.stop()


async def _measure(server: EmbeddedServer, folder: Path, users: int, rounds: int) -> dict[str, Any]:
    await make_schema(server)
    times: dict[str, list[float]] = {name: [] for name in ("import", "COPY", "export", "COPY TO")}
    peak = 0
    owner: Any = await asyncpg.connect(server.superuser_url)
    for _ in range(rounds):
        await owner.execute("TRUNCATE users, imports CASCADE; CHECKPOINT")
        took, memory = await asyncio.to_thread(_command, server, folder, "import", "users.csv")
        times["import"].append(took)
        peak = max(peak, memory)
        await owner.execute("VACUUM users")
        took, _ = await asyncio.to_thread(_command, server, folder, "export", "out.csv")
        times["export"].append(took)
        began = time.perf_counter()
        await owner.copy_from_query("SELECT * FROM users", output=str(folder / "rows"))
        times["COPY TO"].append(time.perf_counter() - began)
        await owner.execute("TRUNCATE users CASCADE; CHECKPOINT")
        began = time.perf_counter()
        await owner.copy_to_table("users", source=_pieces(folder / "rows"))
        times["COPY"].append(time.perf_counter() - began)
        assert await owner.fetchval("SELECT count(*) FROM users") == users  # noqa: S101
    await owner.close()
    return times | {"peak_bytes": peak}


def _command(server: EmbeddedServer, folder: Path, verb: str, name: str) -> tuple[float, int]:
    """Run a command; give its seconds, and the most memory that its processes had, in bytes."""
    words = [sys.executable, "-m", "denizen.cli", "users", verb, str(folder / name)]
    environment = os.environ | {"DENIZEN_DATABASE_URL": server.app_url}
    began = time.perf_counter()
    process = subprocess.Popen(
        [*words, "--data-dir", str(folder / "data")], env=environment, stdout=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(memory, tree(process.pid))))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    took = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{verb} ended with {process.returncode}")
    return took, peak


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as stream:  # it is in the page cache
        while piece := stream.read(2**20):
            yield piece


def _write(path: Path, users: int) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write("id,email,username,hashed_password,is_active,email_verified,created_at\n")
        for number in range(users):
            name = hashlib.sha256(str(number).encode()).hexdigest()[:10] + str(number)
            domain = DOMAINS[number % len(DOMAINS)].format(number // 300)
            shown = f"Иван{number}" if number % 20 == 0 else name
            at = f"20{10 + number % 15}-03-04T05:06:07.{number % 1000000:06}Z"
            stream.write(f"{uuid4()},{name}@{domain},{shown},{HASH},true,true,{at}\n")


def _print(found: dict[str, Any]) -> None:
    users = found["users"]
    print(f"{users:,} users, {ROUNDS} rounds, {cores()} cores shared")
    for mine, bare in (("import", "COPY"), ("export", "COPY TO")):
        for name in (mine, bare):
            seconds = statistics.median(found[name])
            ratio = f"   {spread(found[bare], found[mine])} of {bare}" if name == mine else ""
            print(f"  {name:<10} {seconds:>7.1f} s {users / seconds:>10,.0f}/s{ratio}")
    print(f"  the importer's processes had at most {found['peak_bytes'] / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
