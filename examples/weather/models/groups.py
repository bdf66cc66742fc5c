"""Declares the groups of rows whose errors are compared; none so far."""

from models.declarations import Group

GROUPS: tuple[Group, ...] = ()
"""Every grouping whose error rates are compared in the evaluation."""
