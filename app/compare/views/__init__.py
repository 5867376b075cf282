"""Answers, a closer look, and history as HTML and tables. Pure functions."""
