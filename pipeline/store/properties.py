"""Names of properties in the metadata store, ours and TFX's."""

OURS = "throughline_"
"""Prefix of the properties that our runner adds; these are no parameters of a node."""

# On executions.
KEY = f"{OURS}key"
OUTPUTS = f"{OURS}outputs"
DIRECTORY = f"{OURS}directory"
WORKING_DIRECTORY_INDEX = "__stateful_working_dir_index__"

# On Examples.
FILES = "source_files"
SPAN = "span"
SPANS = "spans"
SPANS_MISSING = "spans_missing"
SPANS_SKIPPED = "spans_passed_over"
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
