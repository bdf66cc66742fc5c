"""A project of one's own: looks at data, decides, and writes its files."""
