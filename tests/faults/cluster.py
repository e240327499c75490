"""Three PostgreSQL servers under Patroni, etcd that they vote by, and HAProxy in front of them.

Every process runs here, on a free port of loopback, and is ended by its own id. Whoever is root
gives them to the user that Debian's PostgreSQL runs as, which refuses to be root's.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from denizen.db.testing import superuser
from faults.cluster_files import HAPROXY, PATRONI
from faults.nemeses import signal_tree
from processes import environment, free_port, processes_of, wait_until_gone

TTL: Final = 20  # seconds after which a leader that says nothing is none any more
LOOP: Final = 2  # seconds between two looks of Patroni's
PATIENCE: Final = 90.0  # seconds that three clusters get to come up, on a machine that is busy
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin"
_PROGRAMS: Final = ("patroni", "etcd", "haproxy")
_POSTGRES: Final = sorted(Path("/usr/lib/postgresql").glob("1[5-9]/bin/postgres"))
IS_HERE: Final = bool(_POSTGRES) and all(shutil.which(one, path=_PATH) for one in _PROGRAMS)


@dataclass(frozen=True, slots=True)
class Node:
    """One PostgreSQL, its Patroni, and where the two are."""

    name: str
    folder: Path
    port: int = field(default_factory=free_port)
    rest: int = field(default_factory=free_port)


class Cluster:
    """The processes, and who of them is what."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [Node(f"node{number}", folder / f"node{number}") for number in (1, 2, 3)]
        self._folder = folder
        self._etcds = [(free_port(), free_port()) for _ in self.nodes]
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def every_url(self) -> str:
        """URL of the serving role on whichever of the three takes writes."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://denizen@{hosts}/denizen?sslmode=disable"

    @property
    def owner_url(self) -> str:
        """URL of the role that owns the schema."""
        return self.every_url.replace("denizen@", "denizen_owner@")

    @property
    def app_url(self) -> str:
        """URL of the role that serves."""
        return self.every_url

    @property
    def superuser_url(self) -> str:
        """URL of the superuser at the leader of now."""
        return self._superuser_url("denizen")

    def start(self) -> None:
        """Start all, and wait until there are a leader and a synchronous standby."""
        self.start_etcd()
        for node in self.nodes:
            node.folder.mkdir()
            self._start_patroni(node)
        self.until_whole()
        asyncio.run(self._prepare())

    def stop(self) -> None:
        """End all at once; what PostgreSQL shared is given back by an immediate shutdown."""
        for name in list(self._running):
            self._end(name, signal.SIGKILL)
        for number in (signal.SIGQUIT, signal.SIGKILL):
            for pid in processes_of(self._folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + 5
            while processes_of(self._folder) and time.monotonic() < deadline:
                time.sleep(0.05)
        wait_until_gone(self._folder)

    def start_etcd(self) -> None:
        """Start the three that vote."""
        names = [f"etcd{number}" for number in (1, 2, 3)]
        peers = [f"http://127.0.0.1:{peer}" for _, peer in self._etcds]
        together = ",".join(f"{name}={peer}" for name, peer in zip(names, peers, strict=True))
        for name, peer, (client, _) in zip(names, peers, self._etcds, strict=True):
            here = f"http://127.0.0.1:{client}"
            words = ["--name", name, "--data-dir", str(self._folder / name)]
            words += ["--listen-client-urls", here, "--advertise-client-urls", here]
            words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            words += ["--initial-cluster", together]
            words += ["--heartbeat-interval", "200", "--election-timeout", "2000"]
            self._start(name, "etcd", *words)

    def stop_etcd(self) -> None:
        """End the three that vote, and keep what they know."""
        for number in (1, 2, 3):
            self._end(f"etcd{number}", signal.SIGTERM)

    def kill(self, node: Node) -> None:
        """End a node without a word, Patroni first, as a machine that is switched off does."""
        self._end(node.name, signal.SIGKILL)
        signal_tree(postmaster(node), signal.SIGKILL)

    def leader(self, *, after: Node | None = None) -> Node:
        """Give the node that takes writes; after a frozen one, which can't be asked, another."""
        return self._that_is("leader", after)

    def synchronous(self) -> Node:
        """Give the standby that has everything that was acknowledged."""
        return self._that_is("sync_standby")

    def switch_over(self) -> Node:
        """Have the leader hand over to the synchronous standby; give who leads now."""
        old, new = self.leader(), self.synchronous()
        body = json.dumps({"leader": old.name, "candidate": new.name}).encode()
        ask(f"http://127.0.0.1:{old.rest}/switchover", body)
        _wait(lambda: self._roles().get(new.name) == "leader", "no switch-over")
        return new

    def until_whole(self, nodes: int = 3) -> None:
        """Wait until so many run, one leads, and one is synchronous."""

        def is_whole() -> bool:
            roles = list(self._roles().values())
            return len(roles) == nodes and {"leader", "sync_standby"} <= set(roles)

        _wait(is_whole, f"no leader with a standby; see {self._folder}")

    @contextlib.contextmanager
    def proxied(self) -> Iterator[str]:
        """Run HAProxy until the block ends; give the URL of the serving role through it."""
        port, config = free_port(), self._folder / "haproxy.cfg"
        lines = [f"  server {n.name} 127.0.0.1:{n.port} check port {n.rest}" for n in self.nodes]
        config.write_text(HAPROXY.format(port=port, servers="\n".join(lines)), encoding="utf-8")
        self._start_haproxy()
        try:
            yield f"postgresql://denizen@127.0.0.1:{port}/denizen?sslmode=disable"
        finally:
            for name in [name for name in self._running if name.startswith("haproxy")]:
                self._end(name, signal.SIGKILL)

    def restart_haproxy(self) -> None:
        """Kill it, and start it anew."""
        self._end("haproxy", signal.SIGKILL)
        self._start_haproxy()

    def reload_haproxy(self) -> None:
        """Start another that takes the port over; the one before keeps what it has."""
        old = self._running.pop("haproxy")
        self._running[f"haproxy-{old.pid}"] = old
        self._start_haproxy("-sf", str(old.pid))

    def until_demoted(self, node: Node) -> None:
        """Wait until a node has heard that another leads."""
        _wait(
            lambda: (roles := _seen_by(node)) and roles.get(node.name) != "leader",
            f"{node.name} still leads",
        )

    @contextlib.contextmanager
    def frozen(self, node: Node) -> Iterator[None]:
        """Stop a node's Patroni, and leave its PostgreSQL at work."""
        patroni = self._running[node.name]
        patroni.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            patroni.send_signal(signal.SIGCONT)

    def _start_haproxy(self, *words: str) -> None:
        config = str(self._folder / "haproxy.cfg")
        self._start("haproxy", "haproxy", "-db", "-f", config, *words)

    def _start_patroni(self, node: Node) -> None:
        values = {"name": node.name, "rest": node.rest, "port": node.port, "folder": node.folder}
        etcd = ",".join(f"127.0.0.1:{client}" for client, _ in self._etcds)
        times = {"ttl": TTL, "loop": LOOP, "etcd": etcd, "bin": _POSTGRES[-1].parent}
        config = node.folder / "patroni.yml"
        config.write_text(PATRONI.format(**values, **times), encoding="utf-8")
        if os.geteuid() == 0:
            shutil.chown(node.folder, "postgres", "postgres")
            node.folder.chmod(0o700)
        self._start(node.name, "patroni", str(config))

    def _start(self, name: str, program: str, *words: str) -> None:
        path = _path_of(program)
        with (self._folder / f"{name}.log").open("ab") as log:
            process: subprocess.Popen[Any] = subprocess.Popen(
                [path, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=environment(),
                start_new_session=True,
                **_as_postgres(),
            )
        self._running[name] = process

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._running.pop(name)
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _roles(self, frozen: Node | None = None) -> dict[str, str]:
        """Give the roles of the nodes that run, as any Patroni that answers sees them."""
        for node in self.nodes:
            if node != frozen and (roles := _seen_by(node)):
                return roles if frozen is None or roles.get(frozen.name) != "leader" else {}
        return {}

    def _that_is(self, role: str, after: Node | None = None) -> Node:
        roles = _wait(
            lambda: role in (roles := self._roles(after)).values() and roles, f"no {role}"
        )
        return next(node for node in self.nodes if roles.get(node.name) == role)

    def _superuser_url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.leader().port}/{database}"

    async def _prepare(self) -> None:
        """Make the two roles and the database."""
        async with superuser(self._superuser_url("postgres")) as operator:
            for role in ("denizen_owner", "denizen"):
                await operator.execute(f"CREATE ROLE {role} LOGIN")
            await operator.execute("CREATE DATABASE denizen OWNER denizen_owner")


@contextlib.contextmanager
def clustered() -> Iterator[Cluster]:
    """Run a cluster in a folder of its own, which another user can reach and sockets fit in."""
    with tempfile.TemporaryDirectory(prefix="denizen-patroni-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        cluster = Cluster(folder)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def patroni_version() -> tuple[int, ...]:
    """Give the version of the Patroni that is run here."""
    asked = [_path_of("patroni"), "--version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True)
    return tuple(map(int, said.stdout.split()[-1].split(".")))


def _path_of(program: str) -> str:
    path = shutil.which(program, path=_PATH)
    assert path is not None
    return path


def _seen_by(node: Node) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        members = ask(f"http://127.0.0.1:{node.rest}/cluster")["members"]
        return {m["name"]: m["role"] for m in members if _runs(m)}
    return {}


def postmaster(node: Node) -> int:
    """Give the id of a node's first process of PostgreSQL."""
    return int((node.folder / "data" / "postmaster.pid").read_text("ascii").splitlines()[0])


def ask(url: str, body: bytes | None = None) -> Any:
    """Give what Patroni says: JSON to a question, words to an order."""
    with urllib.request.urlopen(url, body, timeout=30) as answer:
        said = answer.read().decode()
    return json.loads(said) if re.match(r"[{\[]", said) else said


def _runs(member: dict[str, Any]) -> bool:
    return member["state"] in {"running", "streaming"}


def _as_postgres() -> dict[str, Any]:
    user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    return user if os.geteuid() == 0 else {}


def _wait(look: Callable[[], Any], complaint: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, complaint
        time.sleep(0.1)
    return found
