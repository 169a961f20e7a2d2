"""The parameters of a search, each judged by its own kind. Spec: semantics 4."""
