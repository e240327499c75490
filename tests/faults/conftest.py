"""The stage: one for all rows that heal by themselves, which is what they have to show."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from faults.owned import Own
from faults.stage import Stage, staged


@pytest.fixture(scope="session")
def running_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run PostgreSQL and the service once."""
    with staged(tmp_path_factory.mktemp("faults")) as stage:
        yield stage


@pytest.fixture
def stage(running_stage: Stage) -> Iterator[Stage]:
    """Give the stage, in order."""
    running_stage.service.until("/readyz", 200)
    yield running_stage
    running_stage.proxy.heal()


@pytest.fixture
async def own(stage: Stage, tmp_path: Path) -> AsyncIterator[Own]:
    """Give a service of this row's own; it has not begun."""
    found = Own(stage, tmp_path)
    yield found
    await found.end()
