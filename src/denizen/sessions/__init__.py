"""Sessions: signed-in devices, and who is behind a token."""
