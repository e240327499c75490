"""Somebody else's FastAPI application, with denizen as a part of it."""
