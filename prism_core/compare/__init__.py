"""One question, answered by several arms side by side."""
