"""PRISM against its rivals on held-out queries, as one table."""
