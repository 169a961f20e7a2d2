"""Sealed tokens: authenticated, encrypted, expiring, bound to whom they were made for. Any replica with the key opens them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from smart_gateway.errors import PageExpired, PageRefused

NONCE_BYTES = 12
LEAST_KEY_BYTES = 16
_HEADER_BYTES = 8  # when it expires: seconds since the epoch, big-endian
_INFO = b"smart-gateway sealed link 1"


class Sealer:
    """Seals by the first key, opens by all of them, so that keys can be rotated. A token's form: base64url of expiry, nonce and
    AES-256-GCM ciphertext; expiry and context are authenticated with it."""

    def __init__(self, keys: Sequence[bytes], lifetime: float) -> None:
        """``keys`` are secrets of at least 16 bytes, ``lifetime`` is in seconds. Raises ValueError."""
        if not keys or any(len(key) < LEAST_KEY_BYTES for key in keys):
            raise ValueError(f"sealing needs at least one key, each of at least {LEAST_KEY_BYTES} bytes")
        if lifetime <= 0:
            raise ValueError("a sealed link must live for some time")
        self._ciphers = tuple(AESGCM(HKDF(SHA256(), 32, None, _INFO).derive(key)) for key in keys)
        self._lifetime = lifetime

    def seal(self, payload: bytes, context: bytes, now: float, nonce: bytes, *, lifetime: float | None = None) -> str:
        """A token that opens only with ``context`` until ``now`` plus the sealer's lifetime, or ``lifetime``; ``nonce``: 12 bytes, never
        used twice."""
        header = int(now + (self._lifetime if lifetime is None else lifetime)).to_bytes(_HEADER_BYTES, "big")
        sealed = self._ciphers[0].encrypt(nonce, payload, header + context)
        return base64.urlsafe_b64encode(header + nonce + sealed).rstrip(b"=").decode()

    def open(self, token: str, context: bytes, now: float) -> bytes:
        """What was sealed. Raises PageRefused for anything that was not sealed for ``context``, PageExpired for what was."""
        data = _decode(token)
        header, nonce = data[:_HEADER_BYTES], data[_HEADER_BYTES : _HEADER_BYTES + NONCE_BYTES]
        payload = self._decrypt(nonce, data[_HEADER_BYTES + NONCE_BYTES :], header + context)
        # The time is judged last: a stranger must not learn from the status that a link was good once.
        if now >= int.from_bytes(header, "big"):
            raise PageExpired("This paging link has expired: search again.", expression="http._page")
        return payload

    def _decrypt(self, nonce: bytes, sealed: bytes, authenticated: bytes) -> bytes:
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, sealed, authenticated)
            except InvalidTag:
                continue
        raise _refused()


def _decode(token: str) -> bytes:
    """The bytes of canonical base64url without padding: one spelling for each token."""
    try:
        data = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise _refused() from None
    if len(data) <= _HEADER_BYTES + NONCE_BYTES or base64.urlsafe_b64encode(data).rstrip(b"=").decode() != token:
        raise _refused()
    return data


def _refused() -> PageRefused:
    return PageRefused("This paging link was not given to this token by this gateway: search again.", expression="http._page")
