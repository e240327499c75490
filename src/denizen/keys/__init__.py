"""API keys: other services that may read and write, each within its scopes."""
