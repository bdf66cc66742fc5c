"""Beam engines and their arguments."""
