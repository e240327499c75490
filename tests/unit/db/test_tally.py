"""Durations in plain numbers."""

from denizen.db.tally import BOUNDS, Durations


def test_each_duration_is_in_one_place() -> None:
    """A bound belongs to those up to it; what is beyond the last has a place of its own."""
    durations = Durations()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], BOUNDS[-1] + 1):
        durations.add(seconds)

    assert durations.counts == [2, 1, *[0] * (len(BOUNDS) - 3), 1, 1]
    assert durations.total == sum((0.0, BOUNDS[0] * 2.01, BOUNDS[-1] * 2 + 1))
