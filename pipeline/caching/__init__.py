"""Cache keys, fingerprints of code, and explanations of cache hits and misses."""
