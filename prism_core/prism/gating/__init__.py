"""Stage 4: P(persona helps | query) from an early hidden state, and inference behind it."""
