"""Policies tried out: cases run through the gateway itself, in front of a FHIR server in memory."""
