"""Plans, progress, figures and findings of a training run as HTML. Pure functions."""
