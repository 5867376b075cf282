"""The command line: `python -m prism_core COMMAND ...`, one command a module."""
