"""Tokens: from the Authorization header to a verified principal (semantics 2)."""
