"""How robust a model is to personas: stability, fidelity, and the persona lottery."""
