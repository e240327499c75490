"""The limits of the product."""

from datetime import timedelta

from denizen.throttle import model
from denizen.throttle.model import Limit

LIMITS = [found for found in vars(model).values() if isinstance(found, Limit)]


def test_limits_share_no_bucket() -> None:
    """The same address counts apart in each; nothing of it can be read in the key."""
    keys = {limit.bucket("192.0.2.1") for limit in LIMITS}

    assert len(keys) == len(LIMITS) == 9
    assert {len(key) for key in keys} == {32}


def test_account_is_shut_after_nists_hundred() -> None:
    """NIST SP 800-63B-4, 3.2.2: no more than 100 failures in a row; one a month comes back."""
    assert model.SIGN_IN_ACCOUNT.burst == 100
    assert model.SIGN_IN_ACCOUNT.refill >= timedelta(days=30)
