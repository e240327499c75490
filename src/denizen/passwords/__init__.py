"""Passwords: what is accepted as one, and how it is hashed."""
