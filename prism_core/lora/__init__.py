"""Low-rank adapters: their weights, switched on row by row, and their training."""
