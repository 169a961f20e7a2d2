"""From settings to what checks who sends a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_gateway.gateway.edge.tls import ClientCertificates, TlsFiles
from smart_gateway.gateway.snapshot import CertificateHeader
from smart_gateway.settings.model import Settings
from smart_gateway.settings.sections.issuers import DpopSettings, IssuerSettings, MtlsSettings
from smart_gateway.settings.sections.listeners import TlsSettings
from smart_gateway.settings.sections.server import CertificateHeaderSettings
from smart_gateway.tokens.dpop import PROOF_ALGORITHMS, ProofRules
from smart_gateway.tokens.nonces import Nonces
from smart_gateway.tokens.possession import BindingRules, Possessions
from smart_gateway.tokens.shared_cache import SharedCache
from smart_gateway.tokens.terminators import Terminator

_USUAL_NAMES = {
    Terminator.ENVOY: "x-forwarded-client-cert",
    Terminator.NGINX: "ssl-client-cert",
    Terminator.TRAEFIK: "x-forwarded-tls-client-cert",
}


def build_possessions(settings: Settings, sealing_keys: tuple[bytes, ...], seen: SharedCache) -> Possessions:
    """What is asked of each issuer's tokens. ``sealing_keys`` make nonces, ``seen`` remembers proofs."""
    rules = {issuer.issuer: _rules(issuer) for issuer in settings.issuers}
    return Possessions(rules, Nonces(sealing_keys, settings.server.public_url), seen)


def _rules(issuer: IssuerSettings) -> BindingRules:
    dpop, mtls = issuer.dpop or DpopSettings(), issuer.mtls or MtlsSettings()
    return BindingRules(
        dpop_required=dpop.required,
        mtls_required=mtls.required,
        nonce=dpop.nonce,
        proofs=ProofRules(dpop.proof_age, issuer.leeway),
    )


def announced_algorithms(settings: Settings) -> tuple[str, ...]:
    """The algorithms of DPoP proofs, where clients are to be told of DPoP; none where neither issuers nor clients speak of it."""
    held = any(client.sender_constraint in {"dpop", "any"} for client in (settings.policy.clients or {}).values())
    return PROOF_ALGORITHMS if held or any(issuer.dpop is not None for issuer in settings.issuers) else ()


def announced_bindings(settings: Settings) -> Mapping[str, Any]:
    """What RFC 9728 section 2 has clients know of bound tokens."""
    server, algorithms = settings.server, announced_algorithms(settings)
    spoken = [server.tls, *(listener.tls for listener in server.listeners or ())]
    asked = any(tls is not None and tls.client_certificates != "none" for tls in spoken)
    certificates = server.client_certificate_header is not None or asked
    required = all(issuer.dpop is not None and issuer.dpop.required for issuer in settings.issuers)
    said = {
        "dpop_signing_alg_values_supported": list(algorithms),
        "dpop_bound_access_tokens_required": required,
        "tls_client_certificate_bound_access_tokens": certificates,
    }
    return {name: value for name, value in said.items() if value}


def build_tls(tls: TlsSettings, settings: Settings) -> TlsFiles:
    """The files of a listener's TLS."""
    return TlsFiles(
        certificate=settings.file(tls.certificate),
        key=settings.file(tls.key),
        client_ca=None if tls.client_ca is None else settings.file(tls.client_ca),
        client_certificates=ClientCertificates(tls.client_certificates),
    )


def build_certificate_header(header: CertificateHeaderSettings | None) -> CertificateHeader | None:
    """The header that tells clients' certificates; None where none is believed."""
    if header is None:
        return None
    terminator = Terminator(header.format)
    return CertificateHeader((header.name or _USUAL_NAMES[terminator]).lower().encode("ascii"), terminator)
