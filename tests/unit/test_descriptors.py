"""A worker takes no more clients than it has file descriptors for."""

import resource

import pytest

from denizen.cli.descriptors import MOST, clients_of_a_worker

NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limit", "most", "wanted", "clients"),
    [
        (1024, 524_288, 65_536, MOST // 2),
        (256, 256, None, 256 - 64 - 15),
        (256, NONE, 65_536, MOST // 2),
        (64, 64, None, 8),
        (NONE, NONE, None, MOST // 2),
    ],
)
def test_clients_are_as_many_as_there_are_descriptors(
    monkeypatch: pytest.MonkeyPatch, limit: int, most: int, wanted: int | None, clients: int
) -> None:
    """After the limit was raised as far as it may be; some are kept for everything else."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, most))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))

    assert clients_of_a_worker(workers=2, connections=15) == clients
    assert asked == ([] if wanted is None else [(wanted, most)])


def test_limit_that_may_not_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems refuse what they have said is allowed."""

    def refuse(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (200, NONE))
    monkeypatch.setattr(resource, "setrlimit", refuse)

    assert clients_of_a_worker(workers=1, connections=15) == 200 - 64 - 15
