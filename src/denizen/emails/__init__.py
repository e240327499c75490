"""Addresses: confirmed by their owners, changed with confirmation and a way back."""
