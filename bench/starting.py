"""The service's second start, embedded database included."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def seconds_of_second_start(folder: Path) -> float:
    """Start `denizen serve` twice in a folder; give the second's seconds to its first answer."""
    return [_seconds(folder) for _ in range(2)][1]


def _seconds(folder: Path) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    words = [sys.executable, "-m", "denizen.cli", "serve", "--dev", "--port", str(port)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DENIZEN_")}
    began = time.perf_counter()
    process = subprocess.Popen(
        [*words, "--data-dir", str(folder)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while time.perf_counter() < began + 60:
            with contextlib.suppress(OSError):
                url = f"http://127.0.0.1:{port}/readyz"
                with urllib.request.urlopen(url, timeout=1):
                    return time.perf_counter() - began
            time.sleep(0.01)
        raise TimeoutError("the service does not answer")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
