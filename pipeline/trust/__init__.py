"""Whether data can be trusted: schema review, gate policy, distributions."""
