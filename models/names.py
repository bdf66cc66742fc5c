"""Names of the model's signatures and outputs, for programs without TensorFlow."""

SERVING_DEFAULT = "serving_default"
SERVING_RAW = "serving_raw"
TRANSFORM_FEATURES = "transform_features"
COLUMNAR = "columnar_signatures"
EXAMPLES = "examples"
PROBABILITY = "probability"
