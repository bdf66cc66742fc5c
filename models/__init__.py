"""The model: what it reads, how it learns, and what it answers when it serves."""
