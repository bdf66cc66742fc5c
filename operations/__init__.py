"""Operation of a pushed model: its labels, its monitoring, and the next training.

It reads the request log that the server writes, and the metadata store and registry
that runs write; nothing that runs import it.
"""
