"""How good is an answer: by program, or by a model that judges."""
