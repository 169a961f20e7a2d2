"""Who the gateway is to an authorization server, wherever it has to say so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from smart_gateway.errors import SettingsError
from smart_gateway.settings.files import read_named
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.sections.secret import MAX_SECRET_BYTES, Secret
from smart_gateway.settings.sections.section import Section, Text
from smart_gateway.tokens.client_authentication import AssertionKey, ClientAuthentication, ClientMethod, read_assertion_key

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# What each way needs, and for which keys there is then no place.
_NEEDS = {"basic": "client_secret", "post": "client_secret", "private_key_jwt": "key_file", "bearer": "bearer"}


class ClientAuthenticationSettings(Section):
    """A client that authenticates by a secret, by assertions that its key signs, or by a bearer token."""

    client_id: Text | None = None
    """Who the gateway is there. Left out only with `bearer`."""
    client_secret: Secret | None = None
    """Its secret, for `basic` and `post`."""
    key_file: Text | None = None
    """Its private key (PEM or JWK, not locked) for `private_key_jwt`: RSA of 2,048 bits or more, P-256, P-384, P-521 or Ed25519."""
    key_id: Text | None = None
    """The `kid` of the key. Absent: that of the JWK, or none."""
    bearer: Secret | None = None
    """A token that was given to the gateway, in place of a client."""
    auth: Literal["basic", "post", "private_key_jwt", "bearer"] | None = None
    """Absent: `basic` with a client_secret, `private_key_jwt` with a key_file, `bearer` with a bearer token."""
    assertion_audience: Text | None = None
    """What assertions say in `aud`. Absent: the address that they are sent to."""

    @property
    def method(self) -> str | None:
        """The way that is meant; None where nothing shows it."""
        given = (way for way in ("basic", "private_key_jwt", "bearer") if getattr(self, _NEEDS[way]) is not None)
        return self.auth or next(given, None)


def check_client(client: ClientAuthenticationSettings, path: KeyPath, file: Callable[[str], Path]) -> Iterator[Problem]:
    """What is wrong with ``client`` at ``path``; ``file`` gives the path of a file that the settings name."""
    method = client.method
    if method is None:
        yield Problem(path, "needs client_id with client_secret or key_file, or bearer: the endpoint asks who is there")
        return
    if getattr(client, _NEEDS[method]) is None:
        yield Problem((*path, "auth"), f"{method} needs {_NEEDS[method]}")
    for key in dict.fromkeys(_NEEDS.values()):
        if key != _NEEDS[method] and getattr(client, key) is not None:
            yield Problem((*path, key), f"has no place with {method}")
    if client.client_id is None and method != "bearer":
        yield Problem((*path, "client_id"), "is missing")
    if method != "private_key_jwt":
        for key in ("key_id", "assertion_audience"):
            if getattr(client, key) is not None:
                yield Problem((*path, key), "only with a key_file")
    elif client.key_file is not None:
        yield from _check_key(client, (*path, "key_file"), file)
    if client.bearer is not None and not _TOKEN.fullmatch(client.bearer.reveal()):
        yield Problem((*path, "bearer"), "holds characters that no bearer token has (RFC 6750)")


def _check_key(client: ClientAuthenticationSettings, path: KeyPath, file: Callable[[str], Path]) -> Iterator[Problem]:
    try:
        _read_key(client, file)
    except SettingsError as error:
        yield Problem(path, error.text)


def build_client(client: ClientAuthenticationSettings, file: Callable[[str], Path]) -> ClientAuthentication:
    """The client as it authenticates. Raises SettingsError for what ``check_client`` objects to."""
    method = ClientMethod(client.method)
    secret = {ClientMethod.BEARER: client.bearer, ClientMethod.PRIVATE_KEY_JWT: None}.get(method, client.client_secret)
    key = _read_key(client, file) if method is ClientMethod.PRIVATE_KEY_JWT else None
    return ClientAuthentication(method, client.client_id, None if secret is None else secret.reveal(), key, client.assertion_audience)


def _read_key(client: ClientAuthenticationSettings, file: Callable[[str], Path]) -> AssertionKey:
    name = str(client.key_file)
    data = read_named(file(name), name, MAX_SECRET_BYTES)
    try:
        return read_assertion_key(data, client.key_id)
    except SettingsError as error:
        raise SettingsError(f"the file {name} cannot be used: {error.text}") from None
