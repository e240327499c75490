"""Users: who they are, and how they are created, found, changed and removed."""
