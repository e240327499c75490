"""Imports: users brought along from a file, with their passwords' hashes."""
