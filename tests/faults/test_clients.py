"""F33 to F37: clients that are slow, huge, gone, or too many."""

import asyncio
import contextlib
import json
import random
import re
import select
import socket
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from faults.load import Load, ask
from faults.nemeses import children
from faults.recorder import Recorder
from faults.report import full
from faults.stage import Stage
from support import PASSWORD

HEAD_PATIENCE = 10  # seconds that a client has for the head of a request
MEBIBYTE = 2**20
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, not FIN


async def test_f33_slow_heads_are_closed_and_nobody_else_waits(stage: Stage) -> None:
    """Hundreds of sockets that send a header now and then: all are closed, readers go on."""
    count = full(500, 100)
    async with stage.loaded(clients=2) as load:
        await load.until(10)
        load.recorder.mark("fault")
        opened = [
            await asyncio.open_connection("127.0.0.1", stage.service.port) for _ in range(count)
        ]
        began = time.monotonic()
        dripping = [asyncio.create_task(_drip(*one)) for one in opened]
        closed_after = [ended - began for ended in await asyncio.gather(*dripping)]
        load.recorder.mark("healed")
        await load.until(10)

    measured = await stage.measure(
        load, "F33", f"{count} clients that drip a head", "closed in 15 s; nobody waits"
    )
    assert max(closed_after) < HEAD_PATIENCE + 5
    assert measured.gap < 3


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """Send a header every second until the service closes; give when it did."""
    writer.write(b"GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    try:
        async with asyncio.timeout(3 * HEAD_PATIENCE):
            while not reader.at_eof():
                writer.write(b"X-Drop: 1\r\n")
                try:
                    await asyncio.wait_for(reader.read(4096), 1)
                except TimeoutError:
                    continue
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return time.monotonic()


async def test_f34_what_is_too_large_is_refused_early(stage: Stage) -> None:
    """A gigabyte with its length, one without an end, endless heads, a deep JSON: no memory."""
    before = _memory(stage)
    size = full(1024, 64) * MEBIBYTE
    async with stage.loaded(clients=2) as load:
        await load.until(5)
        load.recorder.mark("fault")
        told = {
            "length": await _pour(stage, f"Content-Length: {size}", size),
            "chunks": await _pour(stage, "Transfer-Encoding: chunked", size),
            "head": await _heads(stage),
            "deep": await _deep(stage),
        }
        after = _memory(stage)
        load.recorder.mark("healed")
        await load.until(5)

    await stage.measure(
        load, "F34", f"bodies of {size // MEBIBYTE} MiB, endless heads", "413, 431, 400; no memory"
    )
    assert {name: status for name, (status, _) in told.items()} == {
        "length": 413,
        "chunks": 413,
        "head": 431,
        "deep": 422,
    }
    assert max(sent for _, sent in told.values()) < 16 * MEBIBYTE
    assert after - before < 32 * MEBIBYTE


async def _pour(stage: Stage, framing: str, size: int) -> tuple[int, int]:
    """Send a body until somebody says no; give the status, and how much was taken of it."""
    return await asyncio.to_thread(_poured, stage, framing, size)


def _poured(stage: Stage, framing: str, size: int) -> tuple[int, int]:
    head = f"POST /v1/users HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {stage.token}\r\n"
    piece = b"x" * 65536
    if "chunked" in framing:
        piece = b"10000\r\n" + piece + b"\r\n"
    with socket.create_connection(("127.0.0.1", stage.service.port), 30) as pipe:
        pipe.sendall(f"{head}Content-Type: application/json\r\n{framing}\r\n\r\n".encode())
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < size and not select.select([pipe], [], [], 0)[0]:
                pipe.sendall(piece)
                sent += len(piece)
        return int(pipe.recv(64).split()[1]), sent


async def _heads(stage: Stage) -> tuple[int, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.service.port)
    writer.write(b"GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-A: 1\r\n" * 100_000 + b"\r\n")
    status = int((await reader.read(64)).split()[1])
    writer.transport.abort()
    return status, 0


async def _deep(stage: Stage) -> tuple[int, int]:
    headers = {"Authorization": f"Bearer {stage.token}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=stage.url, headers=headers) as client:
        body = '{"email":' + "[" * 10_000 + "]" * 10_000 + "}"
        return (await client.post("/v1/users", content=body)).status_code, 0


def _memory(stage: Stage) -> int:
    """Give the bytes that the service's workers have in memory."""
    pids = [stage.service.process.pid, *children(stage.service.process.pid)]
    pages = (int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) for pid in pids)
    return sum(pages) * 4096


async def test_f35_clients_that_are_gone_leave_one_effect_or_none(stage: Stage) -> None:
    """Reset at whatever moment, COMMIT included; asked again under its key, it happened once."""
    count = full(2000, 150)
    with Recorder(stage.folder / f"{time.monotonic_ns()}.jsonl") as recorder:
        load = Load(url=stage.url, token=stage.token, recorder=recorder)
        recorder.mark("fault")
        names = [f"{load.prefix}w0n{number}" for number in range(count)]
        for start in range(0, count, 10):
            await asyncio.gather(
                *(_leave(stage, recorder, name) for name in names[start : start + 10])
            )
        recorder.mark("healed")
        headers = {"Authorization": f"Bearer {stage.token}"}
        async with httpx.AsyncClient(base_url=stage.url, headers=headers, timeout=30) as client:
            for name in names:
                await _ask_again(client, recorder, name)

    measured = await stage.measure(
        load, "F35", f"{count} clients gone in the middle", "one effect under one key; no leak"
    )
    assert measured.acts == count


async def _leave(stage: Stage, recorder: Recorder, name: str) -> None:
    number = recorder.invoke("create", name)
    _, writer = await asyncio.open_connection("127.0.0.1", stage.service.port)
    body = json.dumps(_body(name))
    writer.write(
        f"POST /v1/users HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {stage.token}\r\n"
        f"Idempotency-Key: {name}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    await writer.drain()
    await asyncio.sleep(random.uniform(0, 0.03))
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
    recorder.end(number, "info", "left")


async def _ask_again(client: httpx.AsyncClient, recorder: Recorder, name: str) -> None:
    key = {"Idempotency-Key": name}
    async with asyncio.timeout(30):
        while True:
            request = client.build_request("POST", "/v1/users", json=_body(name), headers=key)
            _, is_settled = await ask(client, request, recorder, "create", name)
            if is_settled:
                return
            await asyncio.sleep(0.05)


def _body(name: str) -> dict[str, str]:
    return {"email": f"{name}@example.com", "username": name}


async def test_f37_more_sign_ins_than_can_be_hashed_are_refused_and_readers_go_on(
    stage: Stage,
) -> None:
    """Hundreds at once: as many as the queue holds pass, the others hear of it at once."""
    count = 200
    before = _memory(stage)
    async with stage.loaded(clients=2) as load, contextlib.AsyncExitStack() as connections:
        wires = [await connections.enter_async_context(_wire(stage)) for _ in range(count)]
        await load.until(5)
        load.recorder.mark("fault")
        told = await asyncio.gather(*(_sign_in(*wire) for wire in wires))
        grown = _memory(stage) - before
        load.recorder.mark("healed")
        await load.until(5)

    refused = [(retry, took) for status, retry, took in told if status == 503]
    slowest = max((took for _, took in refused), default=0.0)
    measured = await stage.measure(
        load,
        "F37",
        f"{count} sign-ins at once ({len(refused)} refused, within {slowest:.1f} s)",
        "503 with Retry-After within 1 s; readers go on",
    )
    assert {status for status, *_ in told} <= {201, 503}
    assert sum(status == 201 for status, *_ in told) >= 10
    assert len(refused) >= 20
    assert {retry for retry, _ in refused} == {"1"}
    assert slowest < 1
    assert (measured.p99[1] or 0) < 1000
    assert grown < 150 * MEBIBYTE


@contextlib.asynccontextmanager
async def _wire(stage: Stage) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection: two hundred clients of httpx would take longer to ask than to be told."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.service.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def _sign_in(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, str | None, float]:
    body = json.dumps({"email": "root@example.com", "password": PASSWORD})
    head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    began = time.monotonic()
    writer.write(f"POST /v1/sessions HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
    told = (await reader.readuntil(b"\r\n\r\n")).decode()
    retry = re.search(r"(?mi)^retry-after: (.*?)\r$", told)
    return int(told.split()[1]), retry and retry[1], time.monotonic() - began
