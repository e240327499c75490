"""What the doctor makes of facts that no test can bring about."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from denizen import doctor
from denizen.migrations import head
from denizen.settings import Settings

FACTS = {
    "version": 180_000,
    "version_text": "18.6",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "standbys": "",
}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (None, "encryption_local"),
        ("postgresql:///denizen?host=/run/postgresql", "encryption_local"),
        ("postgresql://localhost/denizen", "encryption_local"),
        ("postgresql://db.example.org/denizen", "encryption"),
        ("postgresql://db.example.org/denizen?sslmode=verify-full", "encryption"),
        ("postgresql://db.example.org/denizen?sslmode=verify-ca", "encryption_unverified"),
        ("postgresql://db.example.org/denizen?sslmode=require", "encryption_unverified"),
        ("postgresql://localhost,db2/denizen?sslmode=prefer", "encryption_unverified"),
        ("postgresql://db.example.org/denizen?sslmode=disable", "encryption_off"),
    ],
)
def test_way_to_a_remote_database_is_encrypted_and_verified(url: str | None, code: str) -> None:
    """What stays on this machine needs neither."""
    settings = Settings.model_construct(database_url=None if url is None else SecretStr(url))

    assert doctor._encryption(settings).code == code


@pytest.mark.parametrize(
    ("level", "standbys", "codes"),
    [
        ("on", "*", ["durable"]),
        ("remote_apply", "*", ["durable"]),
        ("remote_write", "*", ["commit_weak"]),
        ("local", "db2", ["commit_weak"]),
        ("local", "", ["durable"]),
        ("off", "*", ["commit_off"]),
    ],
)
def test_commit_that_no_standby_keeps_is_told(level: str, standbys: str, codes: list[str]) -> None:
    """Where standbys are asked, an answer is to be on their disk; elsewhere it need not be."""
    facts = FACTS | {"synchronous_commit": level, "standbys": standbys}

    assert [one.code for one in doctor._durability(facts)] == codes


@pytest.mark.parametrize(
    ("revision", "code"),
    [
        (None, "schema_behind"),
        ("0001", "schema_behind"),
        (head(), "schema"),
        ("9999", "schema_ahead"),
    ],
)
def test_schema_is_older_the_same_or_newer(revision: str | None, code: str) -> None:
    """Newer is a warning alone: during a rolling update the older program goes on."""
    assert [one.code for one in doctor._database(FACTS, revision)] == ["database", code]


@pytest.mark.parametrize(
    ("total", "free", "code"),
    [(1000, 50, "disk"), (1000, 9, "disk_low"), (20, 3, "disk"), (20, 1, "disk_low")],
)
def test_disk_is_low_at_a_tenth_or_ten_gibibytes(
    total: int, free: int, code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both: a large disk has room enough at a twentieth; the folder may not be there yet."""
    gib = 1024**3

    def usage(path: Any) -> Any:
        assert path == tmp_path
        return shutil._ntuple_diskusage(total * gib, (total - free) * gib, free * gib)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    found = doctor._disk(tmp_path / "not" / "yet")

    assert (found.code, found.facts["free"]) == (code, f"{free}.0")
