"""Nonces for DPoP proofs: made and known again without keeping any, by every process that has the same key. Spec: RFC 9449 section 9."""

from __future__ import annotations

import base64
import hmac
import struct
from collections.abc import Sequence

_TIME = struct.Struct(">Q")
_MAC_BYTES = 16
_LIFETIME = 300  # seconds; long enough for a burst of requests with one nonce, and new ones come with every answer


class Nonces:
    """Nonces of the server at ``base``: the time when each was made, authenticated. The first of ``keys`` makes them, all know them."""

    def __init__(self, keys: Sequence[bytes], base: str) -> None:
        self._keys = tuple(hmac.digest(key, b"nonces for DPoP proofs at " + base.encode(), "sha256") for key in keys)

    def make(self, issuer: str, now: float) -> str:
        """A nonce for tokens of ``issuer``, in the characters of RFC 9449 section 8.1."""
        time = _TIME.pack(int(now))
        return base64.urlsafe_b64encode(time + _mac(self._keys[0], issuer, time)).decode("ascii")

    def counts(self, nonce: str, issuer: str, now: float) -> bool:
        """Whether ``nonce`` was made here for tokens of ``issuer``, not long ago."""
        try:
            made = base64.b64decode(nonce.encode("ascii"), b"-_", validate=True)
        except ValueError:
            return False
        time, mac = made[: _TIME.size], made[_TIME.size :]
        if len(time) != _TIME.size or not any(hmac.compare_digest(mac, _mac(key, issuer, time)) for key in self._keys):
            return False
        (made_at,) = _TIME.unpack(time)
        return bool(abs(now - made_at) <= _LIFETIME)


def _mac(key: bytes, issuer: str, time: bytes) -> bytes:
    return hmac.digest(key, time + issuer.encode(), "sha256")[:_MAC_BYTES]
