"""Writes: by id, by criteria, by patches; and what they may bring along and change. Spec: semantics 6."""
