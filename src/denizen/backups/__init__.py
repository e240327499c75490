"""Backups of the embedded database: a folder with a dump and what is said about it."""
