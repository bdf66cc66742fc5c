"""Questions about where models and data came from, and views of the answers."""
