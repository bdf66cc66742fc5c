"""Names of properties and of keys in the metadata store, ours and TFX's."""

from collections.abc import Mapping
from typing import Any

OURS = "throughline_"
"""Prefix of the properties that our runner adds; these are no parameters of a node."""

LONGEST = 2_000
"""Most bytes of a text in one property; longer ones are in several, see `divided`.
PostgreSQL indexes these texts, and rejects one of more than 2,704 bytes."""

_PART = "~"

# A key of outputs and inputs.
VERDICT = "verdict"
"""The output of DataGate, and the inputs that get it."""

# On executions.
KEY = f"{OURS}key"
OUTPUTS = f"{OURS}outputs"
DIRECTORY = f"{OURS}directory"
WORKING_DIRECTORY_INDEX = "__stateful_working_dir_index__"
WINDOW = f"{OURS}window"
"""On ExampleGen's in a run with spans: a `store.windows.Window` as JSON."""
SPAN_KEY = f"{OURS}span_key"
"""On executions that settled whether a span is accepted: what it was judged with."""
REFUSED = f"{OURS}refused"
"""On executions that refused a span: why."""

# On Examples.
FILES = "source_files"
SPAN = "span"
SPANS = "spans"
FINGERPRINT = "input_fingerprint"
SPLIT_RULE = "split_rule"
SPLIT_FINGERPRINT = "split_fingerprint"

# On Quarantine.
ROWS_READ = "rows_read"
ROWS_QUARANTINED = "rows_quarantined"

# On DataVerdict.
EXAMPLES_ID = "examples_id"
MIN_ROWS_OF_CELL = "min_rows_of_cell"

# On ModelBlessing.
BLESSED = "blessed"
BLESSED_MODEL_ID = "current_model_id"

# On PushedModel.
PUSHED = "pushed"
PUSHED_VERSION = "pushed_version"
PUSHED_DESTINATION = "pushed_destination"
PUSH_NOTE = f"{OURS}push_note"

# On LabelledRequests, the labels that were joined to requests.
LABELS_TYPE = "LabelledRequests"
LABELS_FILE = "span_file"


def divided(name: str, text: str) -> dict[str, str]:
    """Divides a text into properties that any metadata store accepts.

    Args:
        name: Name of the first property; the further ones end with a number.
        text: The text, in ASCII, so that its characters are bytes.
    """
    pieces = [text[at : at + LONGEST] for at in range(0, len(text), LONGEST)] or [""]
    return {
        f"{name}{_PART}{number}" if number else name: piece
        for number, piece in enumerate(pieces)
    }


def joined(values: Mapping[str, Any]) -> dict[str, Any]:
    """Joins the texts that `divided` has divided; other values stay as they are."""
    found = dict(values)
    for name in values:
        number = 1
        while isinstance(piece := found.pop(f"{name}{_PART}{number}", None), str):
            found[name] += piece
            number += 1
    return found
