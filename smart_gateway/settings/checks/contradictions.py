"""What no single key shows: contradictions, doubles, plain http, files that cannot be read, secrets in the open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

from smart_gateway.errors import SettingsError
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.settings.checks.ceilings import check_ceilings
from smart_gateway.settings.checks.policy import check_policy
from smart_gateway.settings.checks.restrictions import check_fields, check_labels
from smart_gateway.settings.checks.senders import check_senders
from smart_gateway.settings.checks.users import check_users
from smart_gateway.settings.files import read_named
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.model import Settings
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.addresses import ListenAddress, is_loopback, is_plain_http_elsewhere, parse_listen
from smart_gateway.settings.sections.audit import check_audit
from smart_gateway.settings.sections.break_glass import check_break_glass
from smart_gateway.settings.sections.credentials import check_credentials
from smart_gateway.settings.sections.hooks import check_hooks
from smart_gateway.settings.sections.introspection import check_introspection
from smart_gateway.settings.sections.issuers import IssuerSettings, ScopeFormatSettings
from smart_gateway.settings.sections.listeners import check_listeners
from smart_gateway.settings.sections.revocation import check_revocation
from smart_gateway.settings.sections.secret import Secret
from smart_gateway.settings.sections.shared_cache import check_shared_cache
from smart_gateway.settings.sections.smart_configuration import check_smart_configuration
from smart_gateway.settings.sections.udap import check_udap
from smart_gateway.settings.sections.uma import check_uma
from smart_gateway.settings.sections.value_sets import foreseen
from smart_gateway.tokens.transport import MAX_DOCUMENT

_LEAST_SEALING_KEY = 32  # characters; 32 random bytes in base64 are 44
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "k"})  # RFC 7518 section 6


def check(settings: Settings, *, vocabulary_known: bool = True, proxying: bool = False) -> Iterator[Problem]:
    """Everything that is wrong across keys. ``vocabulary_known`` is false where the FHIR release itself was refused; ``proxying``:
    there must be an upstream to send requests to."""
    for rule in _RULES:
        yield from rule(settings)
    if proxying and settings.upstream.url is None:
        yield Problem(("upstream", "url"), "is missing: without it the gateway can only be middleware")
    if vocabulary_known:
        value_sets, problems = foreseen(settings)
        yield from problems
        vocabulary = load_vocabulary(settings.upstream.fhir_version)
        yield from check_policy(settings.policy, vocabulary, value_sets)
        yield from check_users(settings, vocabulary, value_sets)
        yield from check_labels(settings, vocabulary)
        yield from check_fields(settings, vocabulary)
        yield from check_ceilings(settings, vocabulary, value_sets)


def _listening(settings: Settings) -> Iterator[Problem]:
    listen = parse_listen(settings.server.listen)
    if settings.server.listens and settings.server.management is not None and listen.meets(parse_listen(settings.server.management)):
        yield Problem(("server", "management"), "must be another address than server.listen: management is never proxied")


def _upstream(settings: Settings) -> Iterator[Problem]:
    url, path = settings.upstream.url, ("upstream", "url")
    if url is None:
        return
    if is_plain_http_elsewhere(url) and not settings.upstream.allow_http:
        yield _plain_http(path, "upstream.allow_http")
    if url == settings.server.public_url or (settings.server.listens and _is_listened_on(url, parse_listen(settings.server.listen))):
        yield Problem(path, "is the gateway itself: it would call itself without end")


def _is_listened_on(url: str, listen: ListenAddress) -> bool:
    host, _, port = url.partition("://")[2].partition("/")[0].rpartition(":")
    return is_loopback(host.strip("[]")) and port == str(listen.port) and (listen.anywhere or is_loopback(listen.host))


def _plain_http(path: KeyPath, key: str) -> Problem:
    return Problem(path, f"plain http to an address that is not loopback: use https, or set {key}: true")


def _issuers(settings: Settings) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, issuer in enumerate(settings.issuers):
        path: KeyPath = ("issuers", index)
        if issuer.issuer in seen:
            yield Problem((*path, "issuer"), "is there already: each issuer counts once")
        seen.add(issuer.issuer)
        yield from _issuer_addresses(issuer, path)
        yield from _issuer_lists(issuer, path)
        if issuer.scope_format is not None:
            yield from _scope_format(issuer.scope_format, (*path, "scope_format"))
        if issuer.jwks_file is not None:
            yield from _key_file(settings, issuer.jwks_file, (*path, "jwks_file"))


def _issuer_addresses(issuer: IssuerSettings, path: KeyPath) -> Iterator[Problem]:
    if issuer.jwks_uri is not None and issuer.jwks_file is not None:
        yield Problem((*path, "jwks_file"), "the keys come from jwks_uri or from jwks_file, not from both")
    # With keys of its own address or file, the issuer's identifier is a name that is never fetched for them.
    fetched = {"jwks_uri": issuer.jwks_uri} if issuer.jwks_uri else {} if issuer.jwks_file else {"issuer": issuer.issuer}
    for key, url in fetched.items():
        if is_plain_http_elsewhere(url) and not issuer.allow_http:
            yield _plain_http((*path, key), "allow_http of this issuer")


def _issuer_lists(issuer: IssuerSettings, path: KeyPath) -> Iterator[Problem]:
    if not issuer.claims.scope:
        yield Problem((*path, "claims", "scope"), "must not be empty: without scopes no token opens anything")
    if issuer.audiences is not None and "*" in issuer.audiences:
        yield Problem((*path, "audiences"), 'an audience is compared whole: "*" is no pattern')


def _scope_format(format: ScopeFormatSettings, path: KeyPath) -> Iterator[Problem]:
    if format.known_urls and format.escapes == "backslash":
        yield Problem((*path, "known_urls"), "only with escapes: none")
    try:
        format.replacement()
    except ValueError as error:
        yield Problem(path, str(error))


def _key_file(settings: Settings, name: str, path: KeyPath) -> Iterator[Problem]:
    try:
        keys = json.loads(read_named(settings.file(name), name, MAX_DOCUMENT))["keys"]
        members = {member for key in keys for member in key}
    except SettingsError as error:
        yield Problem(path, error.text)
    except (ValueError, LookupError, TypeError, RecursionError):
        yield Problem(path, f"the file {name} holds no JSON Web Key Set")
    else:
        if not members:
            yield Problem(path, f"the file {name} holds no key")
        elif members & _PRIVATE_MEMBERS:
            yield warning(path, f"the file {name} holds private or symmetric keys, which have no business here")


def _sealing(settings: Settings) -> Iterator[Problem]:
    keys, path = settings.server.sealing.keys, ("server", "sealing", "keys")
    if keys is None:
        yield warning(path, "no key: one is made at start; paging links end with the process and open on no other replica")
    for index, key in enumerate(keys or ()):
        if len(key.reveal()) < _LEAST_SEALING_KEY:
            text = f"must have at least {_LEAST_SEALING_KEY} characters, such as those of `openssl rand -base64 32`"
            yield Problem((*path, index), text)


def _plain_secrets(settings: Settings) -> Iterator[Problem]:
    for path in _secrets(settings, ()):
        yield warning(path, "a secret in the open: use {from_env: NAME} or {from_file: PATH}")


def _secrets(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Where secrets are written in the file itself."""
    match value:
        case Secret(plain=True):
            yield path
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name), (*path, name))
        case list():
            for index, item in enumerate(value):
                yield from _secrets(item, (*path, index))
        case _:
            return


_RULES: tuple[Callable[[Settings], Iterator[Problem]], ...] = (
    _listening,
    _upstream,
    _issuers,
    check_introspection,
    check_uma,
    check_revocation,
    check_shared_cache,
    _sealing,
    check_credentials,
    check_udap,
    check_listeners,
    check_senders,
    check_audit,
    check_break_glass,
    _plain_secrets,
    check_hooks,
    check_smart_configuration,
)
