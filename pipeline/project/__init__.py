"""Generates a project: surveys the data, decides, and writes the files."""
