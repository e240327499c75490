"""The OpenAPI document is what the service does: schemathesis tries to prove the contrary.

The app is served on a loopback port, so that its database pool lives on one event loop, and so
that a real HTTP server stands before it. Every run has the same seed; only ids differ.
"""

import contextlib
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
import uvicorn
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import StopReason, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.schemas import BaseSchema

from denizen.app import Denizen, create_app
from denizen.settings import Settings
from denizen.users.model import UserModel
from support import PASSWORD, Api, a_user
from world import EXAMPLES as FUZZ
from world import SEED

# of each operation, besides the boundary values that its schema yields
EXAMPLES = 200 if FUZZ else 40
WALKS = FUZZ or 60


@contextlib.contextmanager
def _serving(app: FastAPI) -> Iterator[str]:
    """Serve on a free port, from a thread with a loop of its own."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:  # or asyncio sets no TCP_NODELAY
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            deadline = time.monotonic() + 20
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                assert time.monotonic() < deadline, "the server takes too long to start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
async def admin_email(admin: Api, denizen: Denizen[UserModel]) -> str:
    """Give the address of the admin, who is not alone: the tries need people to change."""
    for _ in range(30):
        await a_user(denizen)
    email: str = (await admin.get("/v1/me")).json()["email"]
    return email


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Give settings without limits: one client sends more here than anybody may."""
    return settings.model_copy(update={"throttle": "off"})


@pytest.fixture
def served(settings: Settings, admin_email: str) -> Iterator[str]:
    """Serve this test's database by an app of its own, and give its address."""
    with _serving(create_app(settings)) as url:
        yield url


def _config(email: str) -> SchemathesisConfig:
    """Say how to try: as an admin who signs in again whenever an answer is 401."""
    sign_in = {
        "path": "/v1/sessions",
        "payload": {"email": email, "password": PASSWORD},
        "extract_selector": "/token",
    }
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "cache": {"enabled": False},
            "continue-on-failure": True,
            "auth": {"dynamic": {"openapi": {"bearer": sign_in}}},
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "no-shrink": True},
            # the rules of the values are narrower than JSON Schema can say
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    )


def _walking(token: str) -> SchemathesisConfig:
    """Say how to walk: from answer to answer, with a session that nothing on the way ends."""
    off = {"enabled": False}
    phases = {"examples": off, "coverage": off, "fuzzing": off, "stateful": {"max-steps": 8}}
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "cache": {"enabled": False},
            "continue-on-failure": True,
            "headers": {"Authorization": f"Bearer {token}"},
            "phases": phases,
            "generation": {
                "mode": "positive",
                "max-examples": WALKS,
                "deterministic": True,
                "no-shrink": True,
            },
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    )


def _name_anew(schema: BaseSchema) -> None:
    """Have every user that is created be somebody new: made-up addresses are none, or taken."""
    numbers = itertools.count(1)

    @schema.hook
    def map_body(context: Any, body: Any) -> Any:
        if context.operation.label != "POST /v1/users":
            return body
        new = f"walker{next(numbers)}"
        return {"email": f"{new}@example.com", "username": new}


def _failures(recorder: ScenarioRecorder) -> Iterator[tuple[str, str]]:
    """Give what is wrong in a scenario, each with a request that shows it."""
    for checks in recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                failure, sample = check.failure_info.failure, check.failure_info.code_sample
                yield f"{recorder.label}: {check.name}: {failure.message}", sample[:2000]


def _answers(recorder: ScenarioRecorder) -> Iterator[tuple[str, int]]:
    """Give the operation and the status of each answer in a scenario."""
    for case_id, interaction in recorder.interactions.items():
        if interaction.response is not None:
            operation = recorder.cases[case_id].value.operation
            yield operation.label, interaction.response.status_code


def _tried(schema: BaseSchema) -> Iterator[ScenarioRecorder]:
    """Run schemathesis to its end and give every scenario; none may have failed."""
    wrong: dict[str, str] = {}
    stopped: StopReason | None = None
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            wrong.update(_failures(event.recorder))
            yield event.recorder
        elif isinstance(event, events.NonFatalError):
            wrong[f"{event.label}: {event.value!r}"] = ""
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.EngineFinished):
            stopped = event.stop_reason
    told = (f"{what}\n  {sample}" for what, sample in sorted(wrong.items()))
    assert not wrong, f"{len(wrong)} failures:\n" + "\n".join(told)
    assert stopped == StopReason.COMPLETED


def test_every_answer_is_as_documented(served: str, admin_email: str) -> None:
    """No 5xx, no undocumented status, content type or body, and no bad request accepted."""
    schema = schemathesis.openapi.from_url(f"{served}/openapi.json", config=_config(admin_email))

    answers = Counter(answer for walk in _tried(schema) for answer in _answers(walk))

    # otherwise little was tried: nobody was signed in, or nothing was found
    labels = {label for label, _ in answers}
    succeeded = {label for label, status in answers if status < 300}
    # passwords and tokens are not guessed, and introspection is for keys
    guarded = {"POST /v1/sessions", "POST /v1/introspections", "PUT /v1/me/password"}
    guarded.add("GET /metrics")
    # whether the id of a session still lives when it is tried is luck: others end all of them
    guarded.add("DELETE /v1/me/sessions/{id}")
    # nor are files of users made up
    guarded |= {"POST /v1/imports", "GET /v1/imports/{id}", "GET /v1/imports/{id}/report"}
    guarded |= {"POST /v1/me/email", "POST /v1/me/deletion", "POST /v1/deletions/undo"}
    for thing in ("registrations", "email-verifications", "email-changes", "password-resets"):
        guarded.add(f"POST /v1/{thing}/confirm")
    assert labels - succeeded <= guarded | {"POST /v1/email-changes/undo"}


def test_what_is_created_can_be_reached_and_what_is_deleted_is_gone(
    served: str, admin: Api
) -> None:
    """Walks along `Location` and ids: no answer to any operation on somebody who was deleted."""
    assert admin.token is not None
    document = f"{served}/openapi.json"
    schema = schemathesis.openapi.from_url(document, config=_walking(admin.token))
    _name_anew(schema)

    walks = [list(_answers(walk)) for walk in _tried(schema.include(path_regex="^/v1/users"))]

    one = "/v1/users/{id}"
    reached = Counter(answer for walk in walks for answer in walk)
    assert all(reached[f"{method} {one}", 200] for method in ("GET", "PATCH")), reached
    gone = (f"DELETE {one}", 204)
    after = Counter(
        answer for walk in walks if gone in walk for answer in walk[walk.index(gone) + 1 :]
    )
    assert all(after[f"{method} {one}", 404] for method in ("GET", "PATCH")), after


def test_document_is_of_openapi_3_1(served: str) -> None:
    """The document says its version, and every operation of the API says how it may fail."""
    document = requests.get(f"{served}/openapi.json", timeout=10).json()

    assert document["openapi"].startswith("3.1.")
    for path, operations in document["paths"].items():
        for operation in operations.values() if path.startswith("/v1/") else ():
            problem = operation["responses"]["503"]["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/ProblemView"}
