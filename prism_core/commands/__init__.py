"""The commands of `python -m prism_core`, one a module."""
