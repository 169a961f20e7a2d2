"""``smart-gateway check-config``: everything that ``serve`` would refuse, all at once."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from smart_gateway.cli import print_lines
from smart_gateway.cli.configuration import add_overrides, default_config, print_findings
from smart_gateway.errors import DependencyUnavailable, SmartGatewayError
from smart_gateway.settings.findings import Finding, Severity, has_errors
from smart_gateway.settings.loading import Examination, examine
from smart_gateway.settings.model import Settings
from smart_gateway.settings.policy_files import is_policy

_A_POLICY = "This is a policy alone: check the settings that name it (policy: FILE), or try it with test and compare."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    parser.add_argument("config", metavar="F", nargs="?", type=Path, default=default_config(), help="the settings file")
    parser.add_argument("--online", action="store_true", help="also ask issuers, Redis and the upstream whether they answer")
    parser.add_argument("--middleware", action="store_true", help="the settings are for middleware: upstream.url may be left out")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    add_overrides(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints every finding: 0 where there is none but warnings, 1 else."""
    examination = examine(arguments.config, os.environ, given=arguments.set, proxying=not arguments.middleware)
    findings = examination.findings
    if arguments.online and examination.settings is not None:
        findings = (*findings, *asyncio.run(_collect(examination)))
    valid = not has_errors(findings)
    if arguments.format == "json":
        shown = {"valid": valid, "findings": [finding.as_json() for finding in findings], "files": [str(f) for f in examination.files]}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        print_findings(findings, sys.stdout)
        print(f"{arguments.config}: {'can be served' if valid else 'is refused'}")
    if not valid and arguments.config.is_file() and is_policy(arguments.config):
        print_lines(_A_POLICY)
    return 0 if valid else 1


async def _collect(examination: Examination) -> list[Finding]:
    """Of each tenant's where there are tenants."""
    return [finding for one in examination.each or (examination,) for finding in await _collect_of(one)]


async def _collect_of(examination: Examination) -> list[Finding]:
    settings = examination.settings
    assert settings is not None
    asked = (_ask_issuers, _ask_shared_cache, _ask_upstream)
    found = [finding for ask in asked async for finding in ask(examination, settings)]
    return found if settings.tenant is None else [replace(finding, tenant=settings.tenant.name) for finding in found]


async def _ask_issuers(examination: Examination, settings: Settings) -> AsyncIterator[Finding]:
    """One verifier an issuer, so that each has its own finding."""
    from smart_gateway.settings.building.policy import build_policy
    from smart_gateway.settings.building.snapshot import build_issuers  # only --online needs a network
    from smart_gateway.tokens.transport import HttpTransport
    from smart_gateway.tokens.verifier import Verifier

    bases = build_policy(settings).bases
    for index, issuer in enumerate(build_issuers(settings)):
        verifier = Verifier([issuer], bases, HttpTransport(), clock=time.time)
        asked = {"issuer" if issuer.introspection is None else "introspection": verifier.probe, "uma": verifier.probe_permissions}
        try:
            for key, ask in asked.items():
                try:
                    await ask()
                except DependencyUnavailable as error:
                    yield Finding(examination.place("issuers", index, key), f"issuers[{index}].{key}", error.text)
        finally:
            await verifier.aclose()


async def _ask_shared_cache(examination: Examination, settings: Settings) -> AsyncIterator[Finding]:
    """A warning only: without it each process goes by what it knows itself."""
    from smart_gateway.settings.sections.shared_cache import answers

    if settings.server.shared_cache is not None and not await answers(settings.server.shared_cache):
        place = examination.place("server", "shared_cache", "redis", "url")
        yield Finding(place, "server.shared_cache.redis.url", "Redis does not answer", severity=Severity.WARNING)


async def _ask_upstream(examination: Examination, settings: Settings) -> AsyncIterator[Finding]:
    from smart_gateway.app import ask_metadata, proxy_to
    from smart_gateway.settings.building.snapshot import build

    if settings.upstream.url is None:
        return
    built = build(settings, recording=False)
    upstream = proxy_to(settings)
    place = examination.place("upstream", "url")
    try:
        version = _version(await ask_metadata(upstream, built.snapshot))
    except SmartGatewayError as error:
        yield Finding(place, "upstream.url", f"its metadata cannot be had: {error}")
    else:
        wanted = settings.upstream.fhir_version
        if version != wanted.version:
            release = examination.place("upstream", "fhir_version")
            yield Finding(release, "upstream.fhir_version", f"{wanted} is FHIR {wanted.version}; the upstream says that it is {version}")
    finally:
        await upstream.aclose()
        await built.aclose()


def _version(metadata: bytes) -> str:
    """``CapabilityStatement.fhirVersion``, as far as it can be read."""
    try:
        version = json.loads(metadata)["fhirVersion"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return "unknown"
    return version if isinstance(version, str) and version.isprintable() else "unknown"
