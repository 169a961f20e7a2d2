"""What FHIR says: releases, types, search parameters, compartments, references. Knows no scopes and no HTTP."""
