"""`make styles`: measures the styles of `examples/styles`, by the rules in `rules.py`."""
