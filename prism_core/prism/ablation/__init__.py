"""PRISM and its baselines on held-out queries, as one table (PRISM, section 5)."""
