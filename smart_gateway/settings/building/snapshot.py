"""From settings to what runs: the compiled policy, the issuers, and the snapshot with everything that one request needs."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from urllib.parse import urlsplit

from smart_gateway.answers.sealing import Sealer
from smart_gateway.fhir.outcomes import REQUIRED_SCOPE_URL, SMART_REQUIRED_SCOPE_URL
from smart_gateway.gateway.expansions import Expansions
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.policy.model import Policy
from smart_gateway.request.limits import Limits
from smart_gateway.request.parsing import RequestParser
from smart_gateway.settings.building.listeners import build_client_certificates, build_listeners
from smart_gateway.settings.building.policy import build_plain_scopes, build_policy, build_scopes
from smart_gateway.settings.building.senders import announced_algorithms, announced_bindings, build_certificate_header, build_possessions
from smart_gateway.settings.model import Settings
from smart_gateway.settings.sections.audit import BuiltAudit, build_audit
from smart_gateway.settings.sections.credentials import build_credentials
from smart_gateway.settings.sections.hooks import build_amendments
from smart_gateway.settings.sections.introspection import build_introspection
from smart_gateway.settings.sections.issuers import IssuerSettings
from smart_gateway.settings.sections.policy import PolicySettings
from smart_gateway.settings.sections.revocation import build_deny_list
from smart_gateway.settings.sections.shared_cache import build_shared_cache
from smart_gateway.settings.sections.uma import build_invitations, build_uma, uma_audiences
from smart_gateway.settings.sections.value_sets import read_files
from smart_gateway.tokens.cache import DenyList
from smart_gateway.tokens.issuer import ClaimPaths, IssuerConfig
from smart_gateway.tokens.possession import Possessions
from smart_gateway.tokens.shared_cache import SharedCache
from smart_gateway.tokens.transport import HttpTransport
from smart_gateway.tokens.verifier import Verifier

_REQUIRED_SCOPE_URLS = {"core": REQUIRED_SCOPE_URL, "smart": SMART_REQUIRED_SCOPE_URL}
SEALING_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Built:
    """A snapshot and what must be closed once no request uses it any more."""

    snapshot: Snapshot
    verifier: Verifier
    issuers: tuple[IssuerConfig, ...]
    cache: SharedCache
    audit: BuiltAudit
    deny_list: DenyList
    expansions: Expansions = field(default_factory=Expansions)

    def enter(self) -> None:
        """Has its revocations count, also where the verifier goes on with those of a predecessor until now."""
        self.verifier.deny_list = self.deny_list

    async def aclose(self, successor: Built | None = None) -> None:
        """Ends key fetches and the shared cache, unless ``successor`` goes on with them, and the audit trail."""
        if successor is None or successor.verifier is not self.verifier:
            await self.verifier.aclose()
        await self.snapshot.credentials.authorization.aclose()
        if successor is None or successor.cache is not self.cache:
            await self.cache.aclose()
        await self.audit.aclose()


def build(
    settings: Settings,
    *,
    sealing_key: bytes | None = None,
    dry_run: bool = False,
    recording: bool = True,
    previous: Built | None = None,
) -> Built:
    """Builds anew. ``sealing_key`` seals where the settings name no key; without both a key is made up. ``recording`` opens the audit
    files; raises OSError where one cannot be. Keys that ``previous`` has of the same issuers are kept: their outage locks nobody out.
    """
    policy = build_policy(settings)
    limits = build_limits(settings.policy)
    issuers = build_issuers(settings)
    deny_list = build_deny_list(settings)
    sealing_keys = _sealing_keys(settings, sealing_key)
    cache = build_shared_cache(settings, sealing_keys, None if previous is None else previous.cache)
    audit = build_audit(settings, recording=recording)
    verifier = _verifier(issuers, policy, cache, deny_list, previous)
    snapshot = Snapshot(
        policy=policy,
        parser=RequestParser(policy.vocabulary, urlsplit(policy.bases.public).path, limits, policy.bases.public),
        verifier=verifier,
        amendments=build_amendments(settings.hooks, policy.bases),
        invitations=build_invitations(issuers, verifier, dry_run=dry_run),
        discovery=verifier,
        limits=limits,
        sealer=Sealer(sealing_keys, settings.server.sealing.lifetime),
        log=audit.trail,
        instance=None if settings.tenant is None else settings.tenant.name,
        audit_required=settings.policy.audit.required,
        issuers=tuple(issuer.issuer for issuer in settings.issuers),
        described_issuer=settings.server.smart_configuration.issuer,
        declared=settings.server.smart_configuration.declared(),
        required_scope_url=_REQUIRED_SCOPE_URLS[settings.policy.required_scope_extension],
        trusted_proxies=tuple(ip_network(network) for network in settings.server.trusted_proxies),
        cors_origins=frozenset(settings.server.cors.origins if settings.server.cors else ()),
        compression=settings.server.compression == "gzip",
        credentials=build_credentials(settings),
        listeners=build_listeners(settings),
        answer_size=settings.upstream.answer_size,
        answer_time=settings.upstream.answer_time,
        dry_run=dry_run,
    )
    snapshot = _with_senders(snapshot, settings, build_possessions(settings, sealing_keys, cache))
    return Built(snapshot, verifier, issuers, cache, audit, deny_list, build_expansions(settings))


def _with_senders(snapshot: Snapshot, settings: Settings, possessions: Possessions) -> Snapshot:
    """``snapshot`` with what clients show of themselves besides their tokens, and what they are told of that."""
    return replace(
        snapshot,
        possessions=possessions,
        dpop_algorithms=announced_algorithms(settings),
        bindings=announced_bindings(settings),
        certificate_header=build_certificate_header(settings.server.client_certificate_header),
        client_certificates=build_client_certificates(settings),
    )


def _verifier(
    issuers: tuple[IssuerConfig, ...], policy: Policy, cache: SharedCache, deny_list: DenyList, previous: Built | None
) -> Verifier:
    """A key file may have changed under the same name: then nothing of what was read from it is kept."""
    same = previous is not None and (previous.issuers, previous.snapshot.policy.bases, previous.cache) == (issuers, policy.bases, cache)
    if previous is not None and same and all(issuer.jwks_file is None for issuer in issuers):
        return previous.verifier
    return Verifier(issuers, policy.bases, HttpTransport(), deny_list=deny_list, cache=cache)


def build_expansions(settings: Settings) -> Expansions:
    """The value sets of files, and what to ask the FHIR server for. Raises SettingsError, ValueSetError."""
    chosen = settings.policy.value_sets
    return Expansions(read_files(settings), tuple(chosen.from_upstream), chosen.refresh)


def build_limits(policy: PolicySettings) -> Limits:
    """The limits of one request."""
    return Limits(**policy.limits.model_dump(exclude={"requests_per_minute"}))


def build_issuers(settings: Settings) -> tuple[IssuerConfig, ...]:
    """The closed list of trusted issuers."""
    return tuple(_issuer(issuer, settings) for issuer in settings.issuers)


def _issuer(issuer: IssuerSettings, settings: Settings) -> IssuerConfig:
    claims = issuer.claims
    return IssuerConfig(
        issuer=issuer.issuer,
        audiences=uma_audiences(issuer, settings.server.public_url) if issuer.audiences is None else tuple(issuer.audiences),
        jwks_uri=issuer.jwks_uri,
        jwks_file=None if issuer.jwks_file is None else settings.file(issuer.jwks_file),
        algorithms=tuple(issuer.algorithms),
        leeway=issuer.leeway,
        max_token_lifetime=issuer.max_token_lifetime,
        claims=ClaimPaths(**{name: tuple(paths) for name, paths in claims.model_dump().items()}),
        replacement=None if issuer.scope_format is None else issuer.scope_format.replacement(),
        ceiling=build_scopes(issuer.ceiling),
        ceiling_plain=build_plain_scopes(issuer.ceiling),
        v1_write=issuer.v1_write,
        fhir_user_bases=tuple(issuer.fhir_user_bases),
        allow_http=issuer.allow_http,
        introspection=build_introspection(issuer, settings),
        uma=build_uma(issuer, settings),
    )


def _sealing_keys(settings: Settings, made_up: bytes | None) -> tuple[bytes, ...]:
    """Each tenant has its own, made of those that are said and its name: what one seals opens at no other."""
    said = settings.server.sealing.keys
    keys = (made_up or os.urandom(SEALING_KEY_BYTES),) if said is None else tuple(key.reveal().encode() for key in said)
    if settings.tenant is None:
        return keys
    label = f"smart-gateway tenant {settings.tenant.name}".encode()
    return tuple(hmac.digest(key, label, "sha256") for key in keys)
