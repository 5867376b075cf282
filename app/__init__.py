"""The web app around `prism_core`."""
