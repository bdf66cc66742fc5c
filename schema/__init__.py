"""The path of the reviewed schema."""

from pathlib import Path

SCHEMA_PATH = Path(__file__).resolve().parent / "schema.pbtxt"
"""The schema that data is validated against, a tensorflow_metadata Schema as text."""
