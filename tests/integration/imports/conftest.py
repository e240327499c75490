"""Fixtures of imports: the app takes uploads in."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from denizen.app import Denizen
from denizen.users.model import UserModel


@pytest.fixture
async def app(app: FastAPI) -> AsyncIterator[FastAPI]:
    """Give the service's app, importing what is uploaded."""
    denizen: Denizen[UserModel] = app.state.denizen
    async with denizen.imports.serving():
        yield app
