"""Fixtures of the console: browsers in which staff are signed in."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.users.model import UserModel
from support import PASSWORD, a_user
from webforms import Browser


@pytest.fixture
async def chief(app: FastAPI, denizen: Denizen[UserModel]) -> AsyncIterator[Browser]:
    """Give a browser in which an admin is signed in."""
    found = Browser.of(app)
    await a_user(
        denizen, email="root@example.com", username="root", password=PASSWORD, role="admin"
    )
    await found.sign_in("root@example.com", PASSWORD)
    yield found
    await found.client.aclose()


@pytest.fixture
async def helper(app: FastAPI, denizen: Denizen[UserModel]) -> AsyncIterator[Browser]:
    """Give a browser in which somebody of the support is signed in."""
    found = Browser.of(app)
    await a_user(
        denizen, email="help@example.com", username="help", password=PASSWORD, role="support"
    )
    await found.sign_in("help@example.com", PASSWORD)
    yield found
    await found.client.aclose()
