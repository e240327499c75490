"""The stage: one for all rows that heal by themselves, which is what they have to show."""

from collections.abc import Iterator

import pytest

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
