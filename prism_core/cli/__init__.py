"""The command line: `prism COMMAND ...`, one command a module."""
