"""Beam engines, their arguments, and patches of Beam."""
