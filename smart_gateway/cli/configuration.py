"""The options by which verbs find and change the settings, and findings for people."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from smart_gateway.settings.findings import Finding

_COLOURS = {"error": "\x1b[31m", "warning": "\x1b[33m"}
_PLAIN = "\x1b[0m"


def add_config(parser: argparse.ArgumentParser) -> None:
    """``--config`` and ``--set``."""
    parser.add_argument(
        "--config", type=Path, default=default_config(), help="the settings file (default: $SMART_GATEWAY_CONFIG or gateway.yaml)"
    )
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """``--set KEY=VALUE``: options come before the environment, the environment before the file."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, such as upstream.url=http://127.0.0.1:8090/fhir"
    )


def add_tenant(parser: argparse.ArgumentParser) -> None:
    """``--tenant NAME``."""
    parser.add_argument("--tenant", metavar="NAME", help="of which tenant, where the settings have several")


def default_config() -> Path:
    """Where the settings are when no option says so."""
    return Path(os.environ.get("SMART_GATEWAY_CONFIG", "gateway.yaml"))


def number(text: str, least: float, most: float) -> float:
    """What an option says, between ``least`` and ``most``. Raises ArgumentTypeError for anything else, NaN among it."""
    try:
        said = float(text)
    except ValueError:
        said = math.nan
    if not least <= said <= most:
        raise argparse.ArgumentTypeError(f"must be a number from {least:g} to {most:g}")
    return said


def print_findings(findings: Iterable[Finding], stream: TextIO | None = None) -> None:
    """One line a finding, coloured where somebody looks at it and has not asked otherwise (https://no-color.org)."""
    stream = sys.stderr if stream is None else stream
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    for finding in findings:
        line = f"{_COLOURS[finding.severity]}{finding}{_PLAIN}" if coloured else str(finding)
        print(line, file=stream)
