"""A hook that knows who has withdrawn consent, and which units a practitioner works on."""

from __future__ import annotations

from smart_gateway import Amendment, Principal, Refusal

# In a real deployment these are asked over the network, with a client that is made once and kept: the hook has ``hooks.timeout`` for it.
WITHDRAWN = frozenset({"ben"})
UNITS = {"Practitioner/house": ["north", "west"]}


async def consent_and_units(principal: Principal) -> Amendment | Refusal:
    """Refuses tokens of patients who withdrew consent; limits practitioners to the patients of their own units."""
    if principal.patient in WITHDRAWN:
        return Refusal("The patient has withdrawn consent to the use of this app.")
    if principal.fhir_user is None or principal.fhir_user.type != "Practitioner":
        return Amendment()
    units = UNITS.get(f"{principal.fhir_user.type}/{principal.fhir_user.id}", [])
    return Amendment(limit=[f"user/Patient.rs?organization=Organization/{unit}" for unit in units], facts={"units": units})
