"""What every style is held to: one suite, run against all five."""
