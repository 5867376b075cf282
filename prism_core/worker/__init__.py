"""The process that does runs: `python -m prism_core.worker`."""
