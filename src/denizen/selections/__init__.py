"""Selections: what an admin does to many users at once, looked at before and told after."""
