"""PRISM Studio's engine: personas, gating, distillation and honest measurement."""

__version__ = "0.1.0"
