"""Reads HL7's FHIR definitions and compiles the compact tables of ``smart_gateway/fhir/data``."""
