"""The fused CPU path: fused weights, a cache of slots, drafted tokens."""
