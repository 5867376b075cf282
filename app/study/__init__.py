"""The Study tab: compose a study, see what it costs and can show, run it."""
