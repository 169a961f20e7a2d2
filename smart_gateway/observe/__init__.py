"""What is seen from outside: one record per decision, logs (semantics 12)."""
