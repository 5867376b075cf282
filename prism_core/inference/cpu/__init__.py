"""The fused CPU path: packed weights, a cache without padding, guessed tokens."""
