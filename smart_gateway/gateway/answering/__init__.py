"""What leaves of an upstream's answer: judged, merged, or passed on. Spec: semantics 3 to 8."""
