"""From the command line to a served page, its API and its headers."""
