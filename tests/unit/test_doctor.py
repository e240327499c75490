"""What the doctor makes of facts that no test can bring about."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from denizen.doctor import database, examination
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
        ("postgresql://db.example.org/denizen?sslmode=verify-ca", "encryption_nameless"),
        ("postgresql://db.example.org/denizen?sslmode=require", "encryption_unverified"),
        ("postgresql://localhost,db2/denizen?sslmode=prefer", "encryption_unverified"),
        ("postgresql://db.example.org/denizen?sslmode=disable", "encryption_off"),
    ],
)
def test_way_to_a_remote_database_is_encrypted_and_verified(url: str | None, code: str) -> None:
    """What stays on this machine needs neither."""
    settings = Settings.model_construct(database_url=None if url is None else SecretStr(url))

    assert database.encryption(settings).code == code


@pytest.mark.parametrize(
    ("more", "code", "setting"),
    [
        ({}, "encryption", None),
        ({"migrate_url": "disable"}, "encryption_off", "DENIZEN_MIGRATE_URL"),
        ({"replica_urls": "require"}, "encryption_unverified", "DENIZEN_REPLICA_URLS"),
        ({"replica_urls": "verify-ca"}, "encryption_nameless", "DENIZEN_REPLICA_URLS"),
        (
            {"replica_urls": "verify-ca", "migrate_url": "require"},
            "encryption_unverified",
            "DENIZEN_MIGRATE_URL",
        ),
    ],
)
def test_worst_way_to_any_database_is_told(
    more: dict[str, str], code: str, setting: str | None
) -> None:
    """Of the replicas and of the role that migrates, too; and which setting is to be mended."""
    url = "postgresql://db.example.org/denizen"
    urls: dict[str, Any] = {name: SecretStr(f"{url}?sslmode={mode}") for name, mode in more.items()}
    if "replica_urls" in urls:
        urls["replica_urls"] = [SecretStr(url), urls["replica_urls"]]
    found = database.encryption(Settings.model_construct(database_url=SecretStr(url), **urls))

    assert (found.code, found.facts.get("setting")) == (code, setting)
    assert found.said


@pytest.mark.parametrize(
    ("pooler", "is_pooled", "code"),
    [
        ("none", False, "connections_many"),
        ("none", True, "pooler_unnamed"),
        ("transaction", False, "pooler_missing"),
        ("transaction", True, "pooler"),
    ],
)
def test_pooler_is_asked_for_its_connections_in_place_of_the_server(
    pooler: Any, code: str, *, is_pooled: bool
) -> None:
    """What the service opens is not what the server has, when one shares them out."""
    settings = Settings.model_construct(workers=8, database_pool_size=15, database_pooler=pooler)
    found = database.connections({"max_connections": 100}, settings, is_pooled=is_pooled)

    assert found.code == code


@pytest.mark.parametrize(
    ("level", "standbys", "codes"),
    [
        ("on", "*", ["durable"]),
        ("remote_apply", "*", ["durable"]),
        ("remote_write", "*", ["commit_unflushed"]),
        ("local", "db2", ["commit_local"]),
        ("local", "", ["durable"]),
        ("off", "*", ["commit_off"]),
    ],
)
def test_commit_that_no_standby_keeps_is_told(level: str, standbys: str, codes: list[str]) -> None:
    """Where standbys are asked, an answer is to be on their disk; elsewhere it need not be."""
    facts = FACTS | {"synchronous_commit": level, "standbys": standbys}

    assert [one.code for one in database.durability(facts)] == codes


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
    assert [one.code for one in database.version(FACTS, revision)] == ["database", code]


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
    found = examination._disk(tmp_path / "not" / "yet")

    assert (found.code, found.facts["free"]) == (code, f"{free}.0")
