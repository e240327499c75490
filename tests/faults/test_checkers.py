"""Each checker finds what it is there for, on a history that has it."""

from pathlib import Path

from faults import checkers
from faults.recorder import Recorder, Try, outcomes, read
from faults.report import longest_gap, p99


def test_history_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """What has no end is unknown, and a torn line is none."""
    path = tmp_path / "history"
    with Recorder(path) as recorder:
        first, _ = recorder.invoke("create", "a"), recorder.invoke("create", "b")
        recorder.mark("fault")
        recorder.end(first, "ok", "201")
    path.write_text(path.read_text() + '{"at": 1, "ty')

    one, two = read(path.read_text().splitlines())
    assert (one.value, one.outcome, one.told) == ("a", "ok", "201")
    assert (two.value, two.outcome) == ("b", "info")
    assert one.began <= one.ended < two.ended


def test_request_is_written_before_it_leaves(tmp_path: Path) -> None:
    """Whoever is killed right afterwards has left it in the file."""
    with Recorder(tmp_path / "history") as recorder:
        recorder.invoke("create", "a")
        assert '"invoke"' in (tmp_path / "history").read_text()


def test_act_is_what_its_best_try_was() -> None:
    """Done when one try was; unknown when one may have been; not done when none was."""
    tries = [
        _tried("a", "info"),
        _tried("a", "ok"),
        _tried("b", "fail"),
        _tried("b", "info"),
        _tried("c", "fail"),
    ]

    assert outcomes(tries) == {"a": "ok", "b": "info", "c": "fail"}


def test_lost_phantom_doubled_and_unresolved_are_told_apart() -> None:
    """Each in its own set, and what is well in none."""
    told = {"well": "ok", "lost": "ok", "phantom": "fail", "twice": "ok", "open": "info"}

    found = checkers.compare(told, ["well", "phantom", "twice", "twice"])  # type: ignore[arg-type]

    assert found == checkers.Sets({"lost"}, {"phantom"}, {"twice"}, {"open"})
    assert not found.is_whole
    assert checkers.compare({"a": "ok", "b": "fail", "c": "info"}, ["a", "c"]).is_whole


def test_value_of_two_is_found() -> None:
    """In whatever spelling."""
    assert checkers.shared(["Ann", "ANN", "bob"], str.casefold) == {"ann"}
    assert checkers.shared(["Ann", "bob"], str.casefold) == set()


def test_token_that_was_good_twice_is_found() -> None:
    """Refused tries of it don't count."""
    tries = [_tried("t", "ok", kind="consume"), _tried("t", "fail", kind="consume")]

    assert checkers.used_again(tries) == set()
    assert checkers.used_again([*tries, _tried("t", "ok", kind="consume")]) == {"t"}


def test_session_that_lives_on_after_its_revocation_is_found() -> None:
    """Only who asked after the revocation was told counts; before, either answer is right."""
    revoked = _tried("s", "ok", kind="revoke", began=1, ended=2)
    beside = _tried("s", "ok", kind="use", began=1.5, ended=3)
    after = _tried("s", "ok", kind="use", began=2.5, ended=3)

    assert checkers.alive_after_revocation([revoked, beside]) == set()
    assert checkers.alive_after_revocation([after, revoked]) == {"s"}


def test_mail_that_was_never_queued_is_found() -> None:
    """Of what was told to be done."""
    assert checkers.without_mail({"a": "ok", "b": "ok", "c": "info"}, ["a"]) == {"b"}


def test_event_too_many_or_too_few_is_found() -> None:
    """The log tells each act as often as it happened."""
    assert checkers.audited_otherwise(["a", "b", "c"], ["a", "a", "b"]) == {"a", "c"}
    assert checkers.audited_otherwise(["a", "b"], ["b", "a"]) == set()


def test_gap_and_latency_are_those_of_what_was_told() -> None:
    """The gap between two that were done; the latency of whatever was answered."""
    tries = [
        _tried("a", "ok", began=0, ended=1),
        _tried("b", "fail", began=2, ended=3),
        _tried("c", "ok", began=4, ended=6),
    ]

    assert longest_gap(tries) == 5
    assert p99(tries, 0, 10, "create") == 2000
    assert p99(tries, 10, 20, "create") is None


def _tried(
    value: str, outcome: str, *, kind: str = "create", began: float = 0, ended: float = 1
) -> Try:
    return Try(kind=kind, value=value, began=began, ended=ended, outcome=outcome)  # type: ignore[arg-type]
