"""Batch prediction: files of rows in, the same rows with a score out."""
