"""What runs a compiled pipeline, one orchestrator a file."""
