"""The demonstration: an embedded issuer, an embedded FHIR server, and the real gateway between them."""
