"""Exports: users as a file that an import takes again."""
