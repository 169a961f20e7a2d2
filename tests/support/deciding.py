"""Decisions from strings: what a test of the core needs to say who asks and for what."""

from __future__ import annotations

from functools import cache
from typing import Any

from smart_gateway.fhir.references import Bases, Reference
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import Vocabulary, load_vocabulary
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.model import Policy, default_additions
from smart_gateway.policy.plan import Decision, Deny, Permit, Plan
from smart_gateway.principal import Principal
from smart_gateway.request.body import read_form
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.parsing import RequestParser
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.scopes.scope import ResourceScope

BASES = Bases("https://fhir.example.org/fhir", "http://127.0.0.1:8090/fhir")


@cache
def vocabulary(release: Release = Release.R4) -> Vocabulary:
    return load_vocabulary(release)


def policy(release: Release = Release.R4, **choices: Any) -> Policy:
    """The default policy of a release, with choices of its fields."""
    choices.setdefault("compartment_additions", default_additions(release))
    return Policy(vocabulary(release), BASES, **choices)


DEFAULT = policy()


def scopes(*texts: str) -> tuple[ResourceScope, ...]:
    """Resource scopes as a policy lists them."""
    found = [parse_scope(text) for text in texts]
    assert all(isinstance(scope, ResourceScope) for scope in found)
    return tuple(scope for scope in found if isinstance(scope, ResourceScope))


def principal(scope: str, **claims: Any) -> Principal:
    """Who asks; ``fhir_user`` as ``Type/id``; patient 123 unless said (None for none)."""
    claims.setdefault("patient", "123")
    user = claims.pop("fhir_user", None)
    reference = Reference(*user.split("/")) if user is not None else None
    return Principal("https://idp.example.org", scopes=read_scopes(scope, replacement=None, v1_write="cud"), fhir_user=reference, **claims)


def parse(method: str, target: str, *, form: str | None = None, headers: dict[str, str] | None = None) -> FhirRequest:
    """A request relative to the base; ``form`` is the body of a POST ``_search``."""
    path, _, query = target.partition("?")
    given = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    if form is not None:
        given.append((b"content-type", b"application/x-www-form-urlencoded"))
    request = RequestParser(vocabulary(), "", Limits()).parse(method, path.encode(), query.encode(), given)
    return read_form(request, form.encode()) if form is not None else request


def decide(
    method: str,
    target: str,
    scope: str,
    *,
    under: Policy = DEFAULT,
    form: str | None = None,
    headers: dict[str, str] | None = None,
    **claims: Any,
) -> Decision:
    """The decision on one request of one principal."""
    return authorize(parse(method, target, form=form, headers=headers), Access(principal(scope, **claims), under))


def permitted(decision: Decision) -> Plan:
    """The plan of a permit; fails the test on a refusal."""
    assert isinstance(decision, Permit), decision
    return decision.plan


def denied(decision: Decision) -> Deny:
    """The refusal; fails the test on a permit."""
    assert isinstance(decision, Deny), decision
    return decision


def sent(decision: Decision) -> str:
    """Method and target that would be sent upstream, or the form of a POST."""
    upstream = permitted(decision).upstream
    assert upstream is not None
    return f"{upstream.method} {upstream.target}"
