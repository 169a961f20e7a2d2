"""``smart-gateway healthcheck``: for exec probes of Docker and Kubernetes."""

from __future__ import annotations

import argparse
import os
import socket
from http.client import HTTPConnection, HTTPException

from smart_gateway.cli import print_lines
from smart_gateway.cli.configuration import add_config, number
from smart_gateway.settings.loading import glance
from smart_gateway.settings.sections.addresses import ListenAddress, parse_listen
from smart_gateway.settings.sections.server import DEFAULT_LISTEN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md, and which question to ask."""
    parser.add_argument("--live", action="store_true", help="ask whether the process lives, not whether it is ready")
    parser.add_argument("--timeout", type=_seconds, default=4.0, metavar="SECONDS", help="how long to wait (default: 4)")
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 where the management listener answers 200, or, where there is none, something listens for FHIR requests; 1 else.

    The settings are only glanced at: a file that was broken since the start says nothing about the running gateway.
    """
    keys = (("server", "management"), ("server", "listen"))
    management, listen = glance(arguments.config, os.environ, arguments.set, *keys)
    try:
        if management is not None:
            return _ask(parse_listen(management), "/livez" if arguments.live else "/readyz", arguments.timeout)
        address = parse_listen(listen or DEFAULT_LISTEN)
        socket.create_connection((_reachable(address), address.port), arguments.timeout).close()
    except ValueError:
        print_lines(f"{arguments.config} says no address that can be asked")
        return 1
    except (OSError, HTTPException) as error:
        print_lines(f"the gateway does not answer at {management or listen or DEFAULT_LISTEN}: {_reason(error)}")
        return 1
    return 0


def _seconds(text: str) -> float:
    return number(text, 0.1, 3600.0)


def _reason(error: OSError | HTTPException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _ask(address: ListenAddress, path: str, timeout: float) -> int:
    connection = HTTPConnection(_reachable(address), address.port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
    finally:
        connection.close()
    if answer.status != 200:
        print_lines(f"the gateway answers {answer.status} to {path}")
    return 0 if answer.status == 200 else 1


def _reachable(address: ListenAddress) -> str:
    """Where to knock when every address is listened on."""
    if address.anywhere:
        return "::1" if ":" in address.host else "127.0.0.1"
    return address.host
