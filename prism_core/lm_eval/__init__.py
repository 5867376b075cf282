"""PRISM as a model of lm-evaluation-harness: `python -m prism_core.lm_eval ...`."""
