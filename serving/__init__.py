"""The online server and its request log; imports neither TFX nor Beam."""
