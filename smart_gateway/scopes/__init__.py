"""SMART on FHIR scopes, v1 and v2: what a scope string says."""
