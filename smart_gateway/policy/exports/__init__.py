"""Bulk Data export: its values, its parameters, its plans. Spec: semantics 8."""
