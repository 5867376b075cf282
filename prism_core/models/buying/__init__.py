"""Buying answers: how fast an endpoint is asked, what it costs, and what has been spent."""
