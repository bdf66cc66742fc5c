"""Cache keys, code fingerprints, and explanations of cache hits and misses."""
