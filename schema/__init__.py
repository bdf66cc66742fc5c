"""The reviewed schema, and where it is."""

from pathlib import Path

SCHEMA_PATH = Path(__file__).resolve().parent / "schema.pbtxt"
"""The schema that the data must keep to, a tensorflow_metadata Schema as text."""
