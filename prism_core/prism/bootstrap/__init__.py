"""Stages 1 to 3: the model writes queries, answers them twice, and judges the pairs."""
