"""The Compare tab: one question, several arms, side by side."""
