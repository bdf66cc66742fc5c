"""The sample data: where it comes from and how it is laid out."""
