"""Requests sent again under one Idempotency-Key: the effect happens once, the answer is repeated."""
