"""Benchmarks, run by hand on loopback: ratios measured side by side, beside the targets. Never part of the tests."""
