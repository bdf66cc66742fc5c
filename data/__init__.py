"""The sample data: Chicago taxi trips, copied from TFX's wheel."""
