"""Where bytes and requests come in and go out, before anybody asks whose they are. Spec: semantics 1 and 11."""
