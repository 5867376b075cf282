"""Studies: spec -> plan -> cells -> run -> table -> file."""
