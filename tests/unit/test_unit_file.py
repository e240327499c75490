"""The unit for systemd: what it keeps from the service."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "denizen.service"
NEEDED = {
    "CapabilityBoundingSet=",
    "MemoryMax=80%",
    "NoNewPrivileges=yes",
    "OOMPolicy=continue",
    "PrivateUsers=yes",
    "ProcSubset=pid",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RestrictNamespaces=yes",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "TasksMax=4096",
}


def test_unit_leaves_the_service_what_it_needs_alone() -> None:
    """No capability, nobody else's process, no call for the privileged, and not all the memory."""
    assert NEEDED - set(UNIT.read_text(encoding="utf-8").splitlines()) == set()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd's programs")
def test_systemd_understands_the_unit() -> None:
    """It has a word about the program alone, which is not installed here."""
    done = subprocess.run(
        ["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "denizen.service" in line]
    assert [line for line in said if "/opt/denizen/bin/denizen is not executable" not in line] == []
