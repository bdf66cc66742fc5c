"""Training settings of all candidates of `make bench`."""

STEPS = 1000
BATCH = 200
