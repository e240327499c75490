"""The programs that are compared: how each is started, filled with users, and asked."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import argon2
import asyncpg

from bench.seed import address_of, make_schema, seed
from denizen.db.embedded import EmbeddedServer

HERE: Final = Path(__file__).parent
PEERS: Final = Path(os.environ.get("BENCH_PEERS", ".bench"))  # `make .bench/installed` fills it
PASSWORD: Final = "correct horse battery staple"
SIGNERS: Final = 32
GRANIAN: Final = ("-m", "granian", "--interface", "asgi", "--workers", "1", "--no-ws")


@dataclass(slots=True)
class Accounts:
    """What a program is asked: "who am I" of many people, and their sign-ins."""

    reads: list[str]
    sign_ins: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Program:
    """A program: what starts it, in which database, and how accounts come into it."""

    name: str
    command: tuple[str, ...]
    database: str
    fill: Callable[["Running"], Accounts]
    folder: Path = Path()

    @property
    def is_there(self) -> bool:
        """Whether what it needs is installed."""
        return shutil.which(self.command[0]) is not None and self.folder.exists()


@dataclass(frozen=True, slots=True)
class Running:
    """A program that answers, and its accounts."""

    port: int
    users: int
    database: str
    server: EmbeddedServer
    pid: int

    def post(self, path: str, body: Any, *, is_form: bool = False) -> Any:
        """Send one request and give the JSON of its answer."""
        data = urllib.parse.urlencode(body).encode() if is_form else json.dumps(body).encode()
        kind = "application/x-www-form-urlencoded" if is_form else "application/json"
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data)  # it is ours
        request.add_header("Content-Type", kind)
        request.add_header("Origin", f"http://127.0.0.1:{self.port}")
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # it is ours
            return json.loads(answer.read())


@contextlib.contextmanager
def running(
    program: Program, server: EmbeddedServer, users: int, *, workers: int = 1
) -> Iterator[Running]:
    """Start a program and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    url = url_of(server, program.database)
    environment = os.environ | {
        "BENCH_DATABASE_URL": url,
        "DENIZEN_DATABASE_URL": url,
        "DENIZEN_DATABASE_POOL_SIZE": "16",
        "DENIZEN_WORKERS": str(workers),
        "DENIZEN_THROTTLE": "off",
        "PORT": str(port),
    }
    command = [str(port) if word == "{port}" else word for word in program.command]
    process = subprocess.Popen(command, env=environment, cwd=program.folder)
    try:
        _await_answer(process, port)
        yield Running(port, users, program.database, server, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def url_of(server: EmbeddedServer, database: str) -> str:
    """Give the URL of a database; of others than ours as their owner."""
    if database == "denizen":
        return server.app_url
    parts = urllib.parse.urlsplit(server.owner_url)
    return parts._replace(path=f"/{database}").geturl()


async def prepare_ours(server: EmbeddedServer, users: int) -> Accounts:
    """Fill the database that denizen, the hand-written program and the ORM's share."""
    await make_schema(server)
    hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
    connection: Any = await asyncpg.connect(server.superuser_url)
    try:
        tokens = await seed(connection, users, hashed_password=hasher.hash(PASSWORD))
        for name in {program.database for program in PROGRAMS} - {"denizen"}:
            await connection.execute(f"CREATE DATABASE {name} OWNER denizen_owner")
    finally:
        await connection.close()
    signers = [number for number in range(1, users) if number % 10][:SIGNERS]
    bodies = [{"email": address_of(number), "password": PASSWORD} for number in signers]
    return Accounts([_get("/v1/me", t) for t in tokens], [_json("/v1/sessions", b) for b in bodies])


def _fastapi_users(name: str) -> Callable[[Running], Accounts]:
    def fill(running: Running) -> Accounts:
        reads, bodies = [], []
        for _ in range(SIGNERS):
            email = f"{secrets.token_hex(8)}@example.com"
            running.post("/register", {"email": email, "password": PASSWORD})
            bodies.append({"username": email, "password": PASSWORD})
            token = running.post(f"/{name}/login", bodies[-1], is_form=True)["access_token"]
            reads.append(_get(f"/{name}/me", token))
        _fill_up(
            running,
            'INSERT INTO "user" (id, email, hashed_password, is_active, is_superuser, is_verified)'
            " SELECT gen_random_uuid(), 'filler' || n || '@example.com', 'x', true, false, true"
            " FROM generate_series(1, {users}) AS n ON CONFLICT DO NOTHING",
        )
        return Accounts(reads, [_form(f"/{name}/login", body) for body in bodies])

    return fill


def _better_auth(running: Running) -> Accounts:
    reads, sign_ins = [], []
    for _ in range(SIGNERS):
        email = f"{secrets.token_hex(8)}@example.com"
        body = {"email": email, "password": PASSWORD}
        token = running.post("/api/auth/sign-up/email", body | {"name": "bench"})["token"]
        reads.append(_get("/api/auth/get-session", token))
        sign_ins.append(_json("/api/auth/sign-in/email", body, running.port))
    _fill_up(
        running,
        'INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")'
        " SELECT 'filler' || n, 'x', 'filler' || n || '@example.com', true, now(), now()"
        " FROM generate_series(1, {users}) AS n",
    )
    return Accounts(reads, sign_ins)


def _fill_up(running: Running, sql: str) -> None:
    async def fill() -> None:
        url = urllib.parse.urlsplit(running.server.superuser_url)
        connection: Any = await asyncpg.connect(url._replace(path=f"/{running.database}").geturl())
        await connection.execute(sql.format(users=running.users))
        await connection.execute("VACUUM ANALYZE")
        await connection.close()

    asyncio.run(fill())


def _ours(_running: Running) -> Accounts:
    raise LookupError("filled by prepare_ours")


def _get(path: str, token: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"


def _json(path: str, body: Any, port: int | None = None) -> str:
    origin = f"Origin: http://127.0.0.1:{port}\r\n" if port else ""
    return _posted(path, json.dumps(body), "application/json", origin)


def _form(path: str, body: Any) -> str:
    return _posted(path, urllib.parse.urlencode(body), "application/x-www-form-urlencoded")


def _posted(path: str, text: str, kind: str, more: str = "") -> str:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{more}"
    return f"{head}Content-Length: {len(text.encode())}\r\n\r\n{text}"


def _await_answer(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing answers on port {port}")


def _granian(python: str, target: str, *options: str) -> tuple[str, ...]:
    return (python, *GRANIAN, "--log-level", "error", "--port", "{port}", *options, target)


_PEER: Final = str(PEERS.absolute() / "venv/bin/python")
HAND: Final = "hand-written ASGI + asyncpg"
OURS: Final = "denizen"
PROGRAMS: Final = (
    Program(HAND, _granian(sys.executable, "bench.peers.handwritten:app"), "denizen", _ours),
    Program(
        OURS, _granian(sys.executable, "denizen.app:create_app", "--factory"), "denizen", _ours
    ),
    Program(
        "FastAPI + ORM session per request",
        _granian(sys.executable, "bench.peers.orm_session:app"),
        "denizen",
        _ours,
    ),
    *(
        Program(
            f"fastapi-users 15.0.5, {said}",
            _granian(_PEER, "fastapi_users_app:app"),
            "fastapi_users",
            _fastapi_users(name),
            HERE / "peers",
        )
        for name, said in (("db", "database tokens"), ("jwt", "JWT"))
    ),
    Program(
        "better-auth 1.7.25",
        ("node", "server.mjs"),
        "better_auth",
        _better_auth,
        PEERS.absolute() / "better_auth",
    ),
)
