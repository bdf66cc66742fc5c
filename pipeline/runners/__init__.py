"""Runners of a compiled pipeline, one module per orchestrator."""
