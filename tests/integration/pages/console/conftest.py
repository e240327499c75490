"""Fixtures of the console: an admin and somebody of support, each in a browser."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.users.model import UserModel
from support import PASSWORD, a_user
from webforms import Browser


@pytest.fixture
async def root(denizen: Denizen[UserModel]) -> UserModel:
    """Give an admin who can sign in with `PASSWORD`."""
    return await a_user(
        denizen, email="root@example.com", username="root", password=PASSWORD, role="admin"
    )


@pytest.fixture
async def console(browser: Browser, root: UserModel) -> Browser:
    """Give the admin's browser."""
    page = await browser.sign_in(root.email, PASSWORD)
    assert page.heading == "Overview", page.text
    return browser


@pytest.fixture
async def helper(app: FastAPI, denizen: Denizen[UserModel]) -> AsyncIterator[Browser]:
    """Give the browser of somebody of support."""
    user = await a_user(denizen, email="sue@example.com", password=PASSWORD, role="support")
    found = Browser.of(app)
    await found.sign_in(user.email, PASSWORD)
    yield found
    await found.client.aclose()
