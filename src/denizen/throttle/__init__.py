"""Limits on what strangers may try, shared by all workers, and surviving their restart."""
