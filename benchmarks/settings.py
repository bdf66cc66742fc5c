"""What all candidates of `make bench` train with."""

STEPS = 1000
BATCH = 200
