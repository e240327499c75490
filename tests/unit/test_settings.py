"""Settings: sources, checks, masks."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from denizen.settings import PREFIX, Settings, SettingsError, listed, variable


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep this machine's environment and `.env` out."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)
        monkeypatch.delenv(f"{variable(name)}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PASSWORD_MIN", "7"), ("PASSWORD_MIN", "many"), ("PORT", "0"), ("PORT", "99999"),
        ("WORKERS", "0"), ("DOCS", "yes"), ("DATABASE_URL", "mysql://me:canary@h/d"),
        ("DATABASE_URL", "postgresql://me:canary@h"), ("MIGRATE_URL", "canary"),
        ("DATABASE_STATEMENT_TIMEOUT", "-1"), ("DATABASE_POOL_SIZE", "0"), ("THROTTLE", "no"),
        ("TRUSTED_PROXIES", "*"), ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.1/8"),
        ("MAIL_URL", "canary"), ("MAIL_URL", "smtp://me:canary@relay?starttls=off"),
        ("MAIL_FROM", "canary"), ("MAIL_TEMPLATES", "/nowhere/at/all"),
        ("BASE_URL", "example.org"), ("BASE_URL", "ftp://example.org"),
        ("BASE_URL", "https://me:canary@example.org"), ("BASE_URL", "https://example.org?x=1"),
        ("BASE_URL", "https://example.org#x"), ("LINK_URL", "javascript:alert(1)"),
        ("LINK_URL", "https://example.org/\nx"), ("LINK_URL", 'https://example.org/">'),
        ("REPLICA_URLS", "canary"), ("REPLICA_URLS", "postgresql://h/d mysql://me:canary@h/d"),
        ("CORS_ORIGINS", "app.example.com"), ("CORS_ORIGINS", "https://a.example/"),
    ],
)  # fmt: skip
def test_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """One line, the variable in it, the value not when it may be secret."""
    monkeypatch.setenv(PREFIX + name, value)

    with pytest.raises(SettingsError) as caught:
        Settings.load()

    assert str(caught.value).startswith(PREFIX + name)
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)


def test_sources_have_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Arguments, environment, file, `.env`, default."""
    (tmp_path / ".env").write_text("DENIZEN_PORT=1001\nDENIZEN_PASSWORD_MIN=20\n")
    assert (Settings.load().port, Settings.load().password_min) == (1001, 20)

    (tmp_path / "port").write_text("1002\n")
    monkeypatch.setenv("DENIZEN_PORT_FILE", str(tmp_path / "port"))
    assert Settings.load().port == 1002
    monkeypatch.setenv("DENIZEN_PORT", "1003")
    assert Settings.load().port == 1003
    assert Settings.load(port=1004).port == 1004
    assert Settings.load(port=None).port == 1003


def test_unreadable_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret's file that is not there stops the start."""
    monkeypatch.setenv("DENIZEN_DATABASE_URL_FILE", "/nowhere/at/all")

    with pytest.raises(SettingsError, match="DENIZEN_DATABASE_URL_FILE"):
        Settings.load()


def test_listing_is_complete_and_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting with a meaning; the password of a URL in none of the texts."""
    monkeypatch.setenv("DENIZEN_DATABASE_URL", "postgresql://me:canary@h/d")
    monkeypatch.setenv("DENIZEN_MAIL_URL", "smtps://me:canary@mail.example.org")
    monkeypatch.setenv("DENIZEN_MAIL_FROM", "a@example.org")
    settings = Settings.load()
    rows = listed(settings)

    assert {row.variable for row in rows} == {variable(name) for name in Settings.model_fields}
    assert all(row.meaning and row.default for row in rows)
    assert "canary" not in f"{rows} {settings!r} {settings.database()!r} {settings.mail_server!r}"
    shown = {row.variable: row.value for row in rows}
    assert shown["DENIZEN_MAIL_URL"] == "smtps://me:********@mail.example.org:465 (TLS)"


def test_listing_writes_a_default_as_it_is_set() -> None:
    """A value that nobody changed reads like its default."""
    rows = {row.variable: row for row in listed(Settings.load())}

    for name in ("DATABASE_POOL_TIMEOUT", "DATABASE_POOL_RECYCLE", "PORT", "DATA_DIR"):
        assert rows[PREFIX + name].value == rows[PREFIX + name].default


def test_home_is_read_in_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`~` works in a `.env` file, too; somebody unknown is left as written."""
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / ".env").write_text("DENIZEN_DATA_DIR=~/users\nDENIZEN_POSTGRES_BIN=~no-one/bin\n")

    assert Settings.load().data_dir == Path("/home/me/users")
    assert Settings.load().postgres_bin == Path("~no-one/bin")


def test_origins_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is written with commas."""
    monkeypatch.setenv("DENIZEN_CORS_ORIGINS", "https://a.example, https://b.example,")

    assert Settings.load().cors_origins == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
def test_replicas_are_urls_each_with_its_hosts(
    monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    """Commas part hosts inside a URL, and spaces or commas part URLs; passwords are not shown."""
    urls = ["postgresql://me:canary@a,b:5433/d", "postgres://me@/d?host=/run/x,/run/y"]
    monkeypatch.setenv("DENIZEN_REPLICA_URLS", between.join(urls))
    settings = Settings.load(database_url="postgresql://me@p/d")
    shown = {row.variable: row.value for row in listed(settings)}["DENIZEN_REPLICA_URLS"]

    assert settings.database().replica_urls == tuple(urls)
    assert settings.database("postgresql://owner@p/d").replica_urls == ()
    assert shown == "d at a:5432,b:5433,d at /run/x,/run/y"


def test_trusted_proxies_are_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses and networks of both families, and shown as they are understood."""
    assert Settings.load().trusted_proxies == []
    monkeypatch.setenv("DENIZEN_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8,")
    settings = Settings.load()

    shown = {row.variable: row for row in listed(settings)}["DENIZEN_TRUSTED_PROXIES"]
    assert (shown.value, shown.default) == ("127.0.0.1/32,10.0.0.0/8,fd00::/8", "none")
    assert all(isinstance(one, IPv4Network | IPv6Network) for one in settings.trusted_proxies)


def test_sender_is_of_the_host_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IP address is no domain of a sender."""
    assert Settings.load().sender.address == "no-reply@localhost"
    assert Settings.load(base_url="https://id.example.org/x").sender.address == (
        "no-reply@id.example.org"
    )
    assert Settings.load().mail_server is None
    assert Settings.load().mail_folder == Path("data/mail")

    monkeypatch.setenv("DENIZEN_MAIL_URL", "smtp://mail.example.org")
    monkeypatch.setenv("DENIZEN_MAIL_FROM", "Example <a@example.org>")
    assert Settings.load().sender.name == Settings.load().service_name == "Example"


@pytest.mark.parametrize(
    ("given", "service", "pages"),
    [
        ({}, "http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ({"host": "::", "port": 80}, "http://localhost:80", "http://localhost:80"),
        ({"host": "fe80::1"}, "http://[fe80::1]:8000", "http://[fe80::1]:8000"),
        ({"base_url": "https://example.org/"}, "https://example.org", "https://example.org"),
        (
            {"base_url": "https://example.org:8443/users/", "link_url": "https://www.example.org"},
            "https://example.org:8443/users",
            "https://www.example.org",
        ),
    ],
)
def test_t_host_1_own_addresses_come_from_settings(
    given: dict[str, Any], service: str, pages: str
) -> None:
    """What requests say of the host is never asked."""
    settings = Settings.load(**given)

    assert (settings.service_url, settings.pages_url) == (service, pages)
    assert settings.service_name == pages.partition("//")[2].partition("/")[0]
