"""``python -m tests.integration.servers [HAPI_PORT KEYCLOAK_PORT]``: both servers in the foreground, for work by hand, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from tests.integration.servers.hapi import start_hapi
from tests.integration.servers.keycloak import start_keycloak


def main(hapi_port: int = 18090, keycloak_port: int = 18180) -> None:
    """Starts both, prints their addresses, waits."""
    with tempfile.TemporaryDirectory(prefix="smart-gateway-") as folder:
        work = Path(folder)
        hapi = start_hapi(work / "hapi.log", port=hapi_port)
        keycloak = start_keycloak(work, port=keycloak_port)
        print(f"HAPI     {hapi.base}\nKeycloak {keycloak.issuer}", flush=True)
        ends = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        try:
            signal.sigwait(ends)
        finally:
            keycloak.running.stop()
            hapi.running.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
