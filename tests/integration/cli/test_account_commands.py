"""Commands about accounts beside a running service: links that work, and what is over at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from processes import Answer, Service, command, serving, wait_until_gone

PASSWORD, NEW_PASSWORD = "a fine long passphrase 77", "another long passphrase 78"
CONFIRM = "/v1/password-resets/confirm"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the data folder of the module's service."""
    found = tmp_path_factory.mktemp("accounts") / "data"
    yield found
    wait_until_gone(found)


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    """Run a service with one worker."""
    with serving(folder, "--workers", "1") as running:
        running.until("/readyz", 200)
        yield running


def _json(folder: Path, *words: str, stdin: str = "") -> Any:
    done = command(folder, *words, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _made(folder: Path, name: str, *more: str) -> Any:
    words = ("users", "create", f"{name}@example.com", name, "--verified", "--password-stdin")
    return _json(folder, *words, *more, stdin=PASSWORD + "\n")


def _sign_in(service: Service, name: str, password: str = PASSWORD) -> Answer:
    body = {"email": f"{name}@example.com", "password": password}
    return service.ask("POST", "/v1/sessions", body)


def _signed_in(service: Service, name: str) -> str:
    answer = _sign_in(service, name)
    assert answer.status == 201, answer.body
    token: str = answer.json()["token"]
    return token


def _use(service: Service, link: str) -> int:
    parts = urlsplit(link)
    assert parts.path == "/account/password-reset"
    token = parse_qs(parts.query)["token"][0]
    return service.ask("POST", CONFIRM, {"token": token, "password": NEW_PASSWORD}).status


def _audit(folder: Path, name: str, *more: str) -> list[Any]:
    items: list[Any] = _json(folder, "audit", "--user", name, *more)["items"]
    return items


def test_t_inv_1_created_without_a_password_prints_a_link_that_works_once(
    folder: Path, service: Service
) -> None:
    """Nobody signs in before; the link sets the password and confirms the address."""
    made = _json(folder, "users", "create", "guest@example.com", "guest")
    assert (made["email_verified"], _sign_in(service, "guest").status) == (False, 401)

    assert [_use(service, made["link"]) for _ in range(2)] == [204, 400]

    assert _sign_in(service, "guest", NEW_PASSWORD).status == 201
    assert _json(folder, "users", "show", "guest")["email_verified"] is True


def test_reset_password_prints_a_link_and_the_old_password_works_until_it_is_used(
    folder: Path, service: Service
) -> None:
    """Then every session is over; the newest link counts."""
    _made(folder, "forgetful")
    token = _signed_in(service, "forgetful")
    older, newer = (_json(folder, "users", "reset-password", "forgetful") for _ in range(2))
    assert _sign_in(service, "forgetful").status == 201

    assert [_use(service, one["link"]) for one in (older, newer)] == [400, 204]

    assert service.ask("GET", "/v1/me", token=token).status == 401
    assert _sign_in(service, "forgetful").status == 401
    assert _sign_in(service, "forgetful", NEW_PASSWORD).status == 201
    made = [one for one in _audit(folder, "forgetful") if one["action"] == "password.link_made"]
    assert [one["actor_kind"] for one in made] == ["operator", "operator"]


def test_disabled_at_the_command_line_is_out_at_the_next_request(
    folder: Path, service: Service
) -> None:
    """Every session ends, links are void, and enabling brings neither back."""
    _made(folder, "rogue")
    token = _signed_in(service, "rogue")
    link = _json(folder, "users", "reset-password", "rogue")["link"]

    _json(folder, "users", "disable", "rogue")
    assert service.ask("GET", "/v1/me", token=token).status == 401
    _json(folder, "users", "enable", "rogue")

    assert service.ask("GET", "/v1/me", token=token).status == 401
    assert _use(service, link) == 400
    assert _sign_in(service, "rogue").status == 201


def test_delete_has_a_grace_and_erase_now_has_none(folder: Path, service: Service) -> None:
    """Signed out, the names taken, shown to the operator alone; erased, they are free."""
    made = _made(folder, "leaver")
    token = _signed_in(service, "leaver")

    first = _json(folder, "users", "delete", "leaver", "--yes")
    assert first == {"deleted": made["id"], "erased": False}
    assert service.ask("GET", "/v1/me", token=token).status == 401
    assert _sign_in(service, "leaver").status == 401
    taken = command(folder, "users", "create", "leaver@example.com", "leaver")
    assert taken.returncode == 1
    link = command(folder, "users", "reset-password", "leaver")
    assert (link.returncode, link.stderr) == (1, "denizen: no such user\n")

    second = _json(folder, "users", "delete", "leaver", "--yes", "--erase-now")
    assert second == {"deleted": made["id"], "erased": True}
    assert command(folder, "users", "show", made["id"]).returncode == 1
    assert _made(folder, "leaver")["id"] != made["id"]


def test_last_admin_stays(folder: Path, service: Service) -> None:
    """1, in a sentence that says what to do."""
    _made(folder, "console", "--role", "admin")

    for words in (("delete", "console", "--yes"), ("delete", "console", "--yes", "--erase-now")):
        done = command(folder, "users", *words)
        assert done.returncode == 1
        assert done.stderr == ("denizen: this is the last active admin; make another one first\n")
    assert command(folder, "users", "disable", "console").returncode == 1
    assert _sign_in(service, "console").status == 201


def test_revoked_key_is_dead_at_the_next_request(folder: Path, service: Service) -> None:
    """Made, used, listed with its last use, revoked."""
    made = _json(folder, "keys", "create", "billing", "--scope", "users:read", "--days", "7")
    assert service.ask("GET", "/v1/users", token=made["key"]).status == 200
    (listed,) = [one for one in _json(folder, "keys", "list") if one["id"] == made["id"]]
    assert listed["last_used_at"]
    assert made["key"] not in json.dumps(listed)

    _json(folder, "keys", "revoke", made["id"])

    assert service.ask("GET", "/v1/users", token=made["key"]).status == 401


def test_t_log_2_audit_tells_of_a_user_by_any_name_and_by_pages(
    folder: Path, service: Service
) -> None:
    """Signed in, refused, changed; newest first, one page after the other."""
    made = _made(folder, "watched")
    _signed_in(service, "watched")
    _sign_in(service, "watched", "wrong")
    _json(folder, "users", "disable", "watched")
    expected = ["user.updated", "session.refused", "session.started", "user.created"]

    assert [one["action"] for one in _audit(folder, "WATCHED@example.com")] == expected
    (refused,) = _audit(folder, made["id"], "--action", "session.refused")
    assert (refused["address"], refused["actor_kind"]) == ("127.0.0.1", "anonymous")
    first = _json(folder, "audit", "--user", "watched", "--limit", "3")
    rest = _audit(folder, "watched", "--cursor", first["next_cursor"])
    assert [one["action"] for one in rest] == expected[3:]
    shown = command(folder, "audit", "--user", "watched")
    assert "session.refused" in shown.stdout
    assert PASSWORD not in shown.stdout
