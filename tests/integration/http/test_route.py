"""What the route classes do that no ordinary client shows."""

from typing import Any

import pytest
from fastapi import FastAPI

from support import Api


async def test_client_that_goes_away_is_no_incident(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that ends in the middle is nobody's defect: strangers can't fill the log with them."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/sessions",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await app(scope, receive, send)

    assert sent[0]["status"] == 400
    assert caplog.records == []


async def test_hot_route_is_as_strict_as_the_others(admin: Api) -> None:
    """`/v1/me` refuses unknown parameters, and reads the first `Authorization` alone."""
    answers = []
    for path in ("/v1/me", "/v1/users"):
        two = [("Authorization", "Basic eDp5"), ("Authorization", f"Bearer {admin.token}")]
        answers.append(
            [
                (await admin.get(path)).status_code,
                (await admin.get(path, params={"x": "1"})).status_code,
                (await admin.client.get(path, headers=two)).status_code,
            ]
        )

    assert answers == [[200, 422, 401], [200, 422, 401]]
