"""What several benchmarks share: a served app, a visitor, questions, random models."""
