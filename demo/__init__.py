"""A day in production in a few minutes: `make demo`."""
