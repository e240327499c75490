"""The five styles are as their advocates write them: what a cluster asks is not asked of them."""

import pytest


@pytest.fixture(autouse=True)
def watch() -> None:
    """Look at no statement."""
