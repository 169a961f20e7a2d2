"""``issuers[].uma``: the gateway as a resource server of a UMA authorization server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from smart_gateway.fhir.references import is_id
from smart_gateway.gateway.callers.inviting import Invitations, TicketSource, UmaServer
from smart_gateway.policy.uma import INSTANCE, PATIENT, UmaResource
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import Context, ResourceScope
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.sections.addresses import IssuerUrl, is_plain_http_elsewhere
from smart_gateway.settings.sections.client_authentication import ClientAuthenticationSettings, build_client, check_client
from smart_gateway.settings.sections.section import Section, Text
from smart_gateway.tokens.issuer import IssuerConfig, UmaConfig

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings
    from smart_gateway.settings.sections.issuers import IssuerSettings

_SOME_ID = "1"
_Rate = Annotated[int, Field(ge=1, le=1_000_000)]


class UmaResourceSettings(Section):
    """One resource of the authorization server, or all whose ids have one form, and what its scopes open here."""

    id: Text
    """Its id there (`resource_id`, Keycloak's `rsid`; never its name). `{patient}` in it stands for a patient's FHIR id, `{id}` for that of
    the resource that is asked for; one of them, once. Resources that are named themselves go before forms."""
    patient: Text | None = None
    """The patient whose record it is, by FHIR id, where the id does not say it."""
    scopes: Annotated[dict[Text, Annotated[list[Text], Field(min_length=1)]], Field(min_length=1)]
    """Its scopes there, and the SMART scopes that each stands for: `read: [patient/*.rs]`. `patient/` ones are about the patient of the
    resource; a resource of no patient has `user/` or `system/` ones. `{id}` in them is that of the id."""


class UmaSettings(ClientAuthenticationSettings):
    """With `mode: uma`: who the gateway is to the issuer, as a client that gets its own token (PAT) by client credentials, and what the
    issuer's resources are here. Only permissions count then, no scopes of a token. They are taken from JWTs (`authorization.permissions`),
    or with `introspection` from what the issuer answers (`permissions`)."""

    as_uri: IssuerUrl | None = None
    """What clients are told of the authorization server. Absent: the issuer."""
    pat_scope: Text | None = None
    """The scope that the PAT is asked with: `uma_protection` by the standard, none for Keycloak."""
    tickets_per_minute: _Rate = 30
    """How many permission tickets a client gets; it is known by its token's client, else by its address. More are refused with 429."""
    tickets_in_all: _Rate = 600
    """How many all clients together get in a minute, from each process of the gateway."""
    resources: Annotated[list[UmaResourceSettings], Field(min_length=1)]
    """What the authorization server knows of what is here. Resources that are not listed open nothing."""


def check_uma(settings: Settings) -> Iterator[Problem]:
    """What is wrong with how issuers permit things."""
    for index, issuer in enumerate(settings.issuers):
        path: KeyPath = ("issuers", index)
        if issuer.uma is None:
            if issuer.mode == "uma":
                yield Problem((*path, "uma"), "is missing: mode uma needs to know who the gateway is to the issuer, and its resources")
            continue
        if issuer.mode != "uma":
            yield Problem((*path, "uma"), "only with mode: uma")
        yield from _addresses(issuer, issuer.uma, path)
        yield from _client(settings, issuer.uma, (*path, "uma"))
        yield from _resources(issuer.uma, (*path, "uma", "resources"))


def _addresses(issuer: IssuerSettings, uma: UmaSettings, path: KeyPath) -> Iterator[Problem]:
    """The issuer is asked where it takes requests for permissions, whatever its keys come from."""
    addresses = {("issuer",): issuer.issuer, ("uma", "as_uri"): uma.as_uri}
    for key, url in addresses.items():
        if url is not None and is_plain_http_elsewhere(url) and not issuer.allow_http:
            yield Problem((*path, *key), "plain http to an address that is not loopback: use https, or set allow_http of this issuer: true")


def _client(settings: Settings, uma: UmaSettings, path: KeyPath) -> Iterator[Problem]:
    if uma.method == "bearer":
        yield Problem((*path, "bearer"), "has no place here: the gateway gets its token by client credentials")
        return
    yield from check_client(uma, path, settings.file)


def _resources(uma: UmaSettings, path: KeyPath) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, resource in enumerate(uma.resources):
        place = (*path, index)
        if resource.id in seen:
            yield Problem((*place, "id"), "is there already: each resource is described once")
        seen.add(resource.id)
        yield from _id(resource, place)
        for name, texts in resource.scopes.items():
            for position, text in enumerate(texts):
                objection = _objection(text, resource)
                if objection is not None:
                    yield Problem((*place, "scopes", name, position), objection)


def _id(resource: UmaResourceSettings, place: KeyPath) -> Iterator[Problem]:
    placeholders = resource.id.count(PATIENT) + resource.id.count(INSTANCE)
    if placeholders > 1:
        yield Problem((*place, "id"), f"holds more than one of {PATIENT} and {INSTANCE}: where one ends could not be told")
    if PATIENT in resource.id and resource.patient is not None:
        yield Problem((*place, "patient"), "the id says it already")
    if resource.patient is not None and (not is_id(resource.patient) or resource.patient in {".", ".."}):
        yield Problem((*place, "patient"), "is no FHIR id")


def _objection(text: str, resource: UmaResourceSettings) -> str | None:
    if INSTANCE in text and INSTANCE not in resource.id:
        return f"{INSTANCE} is not in the resource's id"
    scope = parse_scope(text.replace(INSTANCE, _SOME_ID))
    if not isinstance(scope, ResourceScope):
        return f'"{text}" is no scope for resources'
    about_one = resource.patient is not None or PATIENT in resource.id
    if about_one is not (scope.context is Context.PATIENT):
        return "patient/ scopes are for resources of a patient, and the others for those of none"
    return None


def build_uma(issuer: IssuerSettings, settings: Settings) -> UmaConfig | None:
    """How ``issuer`` permits things; None where it does not."""
    uma = issuer.uma
    if uma is None:
        return None
    resources = [UmaResource(r.id, tuple((name, tuple(texts)) for name, texts in r.scopes.items()), r.patient) for r in uma.resources]
    return UmaConfig(
        authentication=build_client(uma, settings.file),
        resources=tuple(resources),
        as_uri=uma.as_uri or issuer.issuer,
        pat_scope=uma.pat_scope,
        tickets_per_minute=uma.tickets_per_minute,
        tickets_in_all=uma.tickets_in_all,
    )


def uma_audiences(issuer: IssuerSettings, public_url: str) -> tuple[str, ...]:
    """What tokens are for where nothing is said: this server; in UMA also by the name that the issuer has for it, its client."""
    client = issuer.uma.client_id if issuer.uma is not None else None
    return (public_url,) if client is None else (public_url, client)


def build_invitations(issuers: tuple[IssuerConfig, ...], source: TicketSource, *, dry_run: bool) -> Invitations:
    """Who is asked for permissions; nobody where nothing is enforced."""
    servers = [UmaServer(config.issuer, config.uma.as_uri, config.uma.resources) for config in issuers if config.uma is not None]
    return Invitations(() if dry_run else servers, source)
