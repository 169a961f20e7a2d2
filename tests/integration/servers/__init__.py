"""Start code of the real servers: HAPI FHIR JPA, Keycloak, the gateway itself, and an issuer that says what a test wants."""
