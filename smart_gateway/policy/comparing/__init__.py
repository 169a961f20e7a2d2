"""Two policies compared: what the new one opens and closes."""
