"""Converts CSV and Parquet files to tf.Examples, column by column.

A file is inspected (`source`), divided between records (`records`, `plan`), parsed into
typed columns (`reading`, `columns`), split (`splitting`) and written (`writing`). Rows
that don't fit go to quarantine (`quarantine`). Nothing here imports TFX's graph or the
metadata store.
"""
