"""Personas: the library, the pool that robustness is measured with, and the prompts they become."""
