"""Fixtures of the pages: browsers without a script, in two languages."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.users.model import UserModel
from support import PASSWORD, a_user
from webforms import Browser


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[Browser]:
    """Give a browser that nobody has used."""
    found = Browser.of(app)
    yield found
    await found.client.aclose()


@pytest.fixture
async def russian(app: FastAPI) -> AsyncIterator[Browser]:
    """Give one that prefers Russian."""
    found = Browser.of(app, "ru-RU,ru;q=0.9,en;q=0.5")
    yield found
    await found.client.aclose()


@pytest.fixture
async def ann(denizen: Denizen[UserModel]) -> UserModel:
    """Give somebody who can sign in with `PASSWORD`."""
    return await a_user(denizen, email="ann@example.com", username="ann", password=PASSWORD)


@pytest.fixture
async def signed_in(browser: Browser, ann: UserModel) -> Browser:
    """Give a browser in which she is signed in."""
    page = await browser.sign_in(ann.email, PASSWORD)
    assert page.heading == "My account", page.text
    return browser
