"""Which versions of a model exist, which is live, and what changes that."""
