"""What is asked: a request's path, headers, parameters and body, parsed once (semantics 1)."""
