"""Running the real command line in tests: every process is ended by its own id."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

DENIZEN = [sys.executable, "-m", "denizen.cli"]


def environment(**more: str) -> dict[str, str]:
    """Give this process's environment without denizen's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DENIZEN_")}
    return kept | more


def command(
    folder: Path, *words: str, stdin: str = "", **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command on a data folder and wait for it."""
    return subprocess.run(
        [*DENIZEN, *words, "--data-dir", str(folder)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder.parent,
        env=environment(**settings),
    )


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        """Give the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Service:
    """A running `denizen serve`."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
    ) -> Answer:
        """Send one request over a connection of its own."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers))

    def until(self, path: str, status: int, *, patience: float = 30) -> float:
        """Ask until the status is that; give the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() - began < patience:
            with contextlib.suppress(OSError):
                if self.ask("GET", path).status == status:
                    return time.monotonic() - began
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended: {self.log.read_text()}")
            time.sleep(0.02)
        raise AssertionError(f"{path} never answered {status}: {self.log.read_text()}")


@contextlib.contextmanager
def serving(
    folder: Path, *words: str, port: int | None = None, **settings: str
) -> Iterator[Service]:
    """Run `denizen serve` until the block ends."""
    port = port or free_port()
    log = folder.parent / f"serve-{port}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*DENIZEN, "serve", "--data-dir", str(folder), "--port", str(port), *words],
            stdout=out,
            stderr=out,
            cwd=folder.parent,
            env=environment(**settings),
        )
    try:
        yield Service(process, port, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def processes_of(folder: Path) -> list[int]:
    """Give the ids of processes that have the folder in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder) in (entry / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(entry.name))
    return found


def wait_until_gone(folder: Path, *, patience: float = 6) -> float:
    """Wait until no process of the folder is left; give the seconds."""
    began = time.monotonic()
    while processes_of(folder):
        assert time.monotonic() - began < patience, processes_of(folder)
        time.sleep(0.05)
    return time.monotonic() - began


_FORWARD = """
import asyncio, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
async def serve(near_in, near_out):
    far_in, far_out = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(pump(near_in, far_out), pump(far_in, near_out), return_exceptions=True)
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2]))
    await server.serve_forever()
asyncio.run(main())
"""


class Forwarder:
    """A TCP port in front of a Unix socket: a process, so that killing it cuts every connection.

    As a context manager it begins down, and is down at the end.
    """

    def __init__(self, target: str, port: int) -> None:
        self._command = [sys.executable, "-c", _FORWARD, target, str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Listen."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def freeze(self) -> None:
        """Leave every connection open and move no byte any more, as a server that hangs does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def down(self) -> None:
        """Cut everything at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
