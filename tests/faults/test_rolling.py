"""F4: two services on one database behind HAProxy, restarted in turn. In full runs alone."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from denizen.cli.workers import GRACE
from faults.owned import Own
from faults.recorder import Try
from faults.report import IN_FULL
from faults.stage import Stage
from processes import environment, free_port

RESTARTS: Final = 5  # of each
LOOK_EVERY: Final = 0.5  # seconds, of HAProxy
_HAPROXY: Final = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
# `docs/how-to/operate.md` tells operators the same
CONFIG: Final = """\
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout check 5s
  retries 3
  option redispatch 1
  option http-server-close
  retry-on conn-failure empty-response

listen denizen
  bind 127.0.0.1:{port}
  http-request disable-l7-retry unless METH_GET or {{ req.hdr(Idempotency-Key) -m found }}
  option httpchk GET /readyz
  default-server check inter 500ms fall 1 rise 2
{servers}
"""

pytestmark = [
    IN_FULL,
    pytest.mark.skipif(_HAPROXY is None, reason="there is no HAProxy on this machine"),
]


@contextlib.contextmanager
def _balanced(folder: Path, ports: Sequence[int]) -> Iterator[str]:
    """Run HAProxy before services on those ports; give where it is."""
    port, config = free_port(), folder / "haproxy.cfg"
    servers = "\n".join(f"  server one{port} 127.0.0.1:{port}" for port in ports)
    config.write_text(CONFIG.format(port=port, servers=servers), encoding="utf-8")
    process = subprocess.Popen(
        [str(_HAPROXY), "-db", "-f", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def test_f4_services_that_are_restarted_in_turn_fail_nobody(
    stage: Stage, tmp_path: Path
) -> None:
    """Whoever asks once more is always answered; almost nobody has to."""
    folders = [tmp_path / name for name in ("a", "b")]
    owns = [Own(stage, folder, folder.name) for folder in folders]
    for folder in folders:
        folder.mkdir()
    try:
        running = [await own.start() for own in owns]
        with _balanced(tmp_path, [own.port for own in owns]) as url:
            await asyncio.sleep(4 * LOOK_EVERY)
            async with stage.loaded(url=url) as load:
                await load.until(20)
                load.recorder.mark("fault")
                for _ in range(RESTARTS):
                    for number, own in enumerate(owns):
                        running[number].process.send_signal(signal.SIGTERM)
                        await asyncio.to_thread(running[number].process.wait, GRACE)
                        running[number] = await own.start()
                        await asyncio.sleep(4 * LOOK_EVERY)
                load.recorder.mark("healed")
                await load.until(20)
    finally:
        for own in owns:
            await own.end()

    tries = load.recorder.tries()
    once, twice = _failed(tries)
    measured = await stage.measure(
        load,
        "F4",
        f"two services restarted in turn, {RESTARTS} times each ({once} of {len(tries)} refused)",
        "≤ 0.1 % refused; nobody twice",
    )
    assert twice == 0, Counter(one.told for one in tries)
    assert once <= len(tries) / 1000
    assert measured.gap < 2


def _failed(tries: Sequence[Try]) -> tuple[int, int]:
    """Give how many requests failed, and how many acts did when they were asked for again."""
    failed = [one for one in tries if one.outcome != "ok"]
    acts = Counter(one.value for one in failed if one.kind == "create")
    return len(failed), sum(count > 1 for count in acts.values())
