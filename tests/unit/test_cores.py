"""How many cores a process may use."""

import math
from pathlib import Path

import pytest

from denizen.cores import cores, quota


def _groups(root: Path, **limits: str) -> None:
    own = root / "proc/self"
    own.mkdir(parents=True)
    (own / "cgroup").write_text("1:name=systemd:/old\n0::/outer/inner\n", "ascii")
    for name, text in limits.items():
        folder = (
            root / "sys/fs/cgroup" / {"top": "", "outer": "outer", "inner": "outer/inner"}[name]
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(text, "ascii")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, math.inf),
        ({"inner": "max 100000\n"}, math.inf),
        ({"inner": "150000 100000\n"}, 1.5),
        ({"inner": "400000 100000\n", "outer": "200000 100000\n", "top": "max 100000\n"}, 2),
    ],
)
def test_smallest_quota_counts(tmp_path: Path, limits: dict[str, str], expected: float) -> None:
    """A container's own, or that of a group around it; `max` is none."""
    _groups(tmp_path, **limits)

    assert quota(tmp_path) == expected


def test_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    """Another system, or the first version of them."""
    assert quota(tmp_path) == math.inf


@pytest.mark.parametrize(("granted", "expected"), [(0.5, 1), (1.9, 1), (math.inf, None)])
def test_cores_are_whole_and_never_none(
    monkeypatch: pytest.MonkeyPatch, granted: float, expected: int | None
) -> None:
    """A worker for each: half a core is one, and one and a half are no two."""
    every = cores()
    monkeypatch.setattr("denizen.cores.quota", lambda: granted)

    assert cores() == (expected or every)
