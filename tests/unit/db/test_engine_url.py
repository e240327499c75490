"""Reading connection URLs."""

import ssl

import pytest

from denizen.db.engine import DatabaseSettings, DatabaseUrlError, describe_url, parse_url


def test_hosts_ports_and_names_are_read() -> None:
    """Several hosts with their own ports, quoting in the password, the name."""
    target = parse_url("postgresql://me:p%40ss@h1:5433,h2/users?sslmode=disable")

    assert target.hosts == (("h1", 5433), ("h2", 5432))
    assert (target.user, target.password, target.database) == ("me", "p@ss", "users")


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql:///db?host=/run/pg", (("/run/pg", 5432),)),
        ("postgresql://me@/db?host=/run/pg&port=6000", (("/run/pg", 6000),)),
        ("postgresql+asyncpg://me@localhost/db", (("localhost", 5432),)),
        ("postgres://[::1]:6000/db", (("::1", 6000),)),
        ("postgresql:///db?host=h1,h2&port=1,2&sslmode=disable", (("h1", 1), ("h2", 2))),
    ],
)
def test_other_forms_are_read(url: str, hosts: tuple[tuple[str, int], ...]) -> None:
    """Socket folders, IPv6, and libpq's query form."""
    assert parse_url(url).hosts == hosts


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://x/y", "postgresql://"),
        ("postgresql://canary@host", "names no database"),
        ("postgresql://host:x/db", "port"),
        ("postgresql://host:70000/db", "port"),
        ("postgresql://host/db?sslmode=maybe", "sslmode"),
        ("postgresql://host/db?canary=1", "not known: canary"),
        ("postgresql://host/db?sslmode=verify-full&sslrootcert=/nowhere", "sslrootcert"),
    ],
)
def test_wrong_url_is_told_without_the_url(url: str, said: str) -> None:
    """The sentence names what is wrong and repeats neither the URL nor a password."""
    with pytest.raises(DatabaseUrlError) as caught:
        parse_url(url)

    assert said in str(caught.value)
    assert url not in str(caught.value)


def test_remote_host_is_verified_in_full_unless_said() -> None:
    """Without `sslmode` a remote host needs a certificate that is good and its own (12.3.1)."""
    remote, local = (
        parse_url("postgresql://db.example.com/x"),
        parse_url("postgresql://localhost/x"),
    )
    asked = parse_url("postgresql://db.example.com/x?sslmode=require")

    assert isinstance(remote.tls, ssl.SSLContext)
    assert (remote.tls.verify_mode, remote.tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (local.tls, asked.tls) == ("prefer", "require")
    assert (remote.is_remote, local.is_remote) == (True, False)


def test_password_of_a_url_is_never_shown() -> None:
    """Neither a listing nor a repr tells it."""
    url = "postgresql://me:canary@db.example.com/users"

    assert describe_url(url) == "users at db.example.com:5432"
    assert "canary" not in repr(DatabaseSettings(url=url))
