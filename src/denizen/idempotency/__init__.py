"""Requests sent again under one Idempotency-Key: one effect, and the same answer again."""
