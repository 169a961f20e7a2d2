"""``smart-gateway test``: cases of who may do what under a policy, run through the gateway itself."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from smart_gateway.cli.configuration import add_tenant, number, print_findings
from smart_gateway.errors import SmartGatewayError
from smart_gateway.policing.coverage import Opened, measure
from smart_gateway.policing.reports import Covered, Result, as_json, as_junit
from smart_gateway.policing.trial import Stage, UnknownIssuer, run_case
from smart_gateway.policing.verdicts import objections
from smart_gateway.settings.cases import Case, CaseFile, read_cases
from smart_gateway.settings.loading import Examination
from smart_gateway.settings.policy_files import examine_policy

_DONE, _FAILED, _USAGE, _NO_TESTS = 0, 1, 2, 5
_HUNDRED = 100.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a file of cases")
    parser.add_argument("--config", type=Path, help="settings, or a policy alone, for all files; without it, those that a file names")
    parser.add_argument(
        "--run", dest="pattern", type=_pattern, metavar="PATTERN", help="only cases whose file and name match this regular expression"
    )
    parser.add_argument("--junit", type=Path, metavar="F", help="also write JUnit XML to this file")
    parser.add_argument("--coverage", action="store_true", help="say which rules of the policy no case holds")
    parser.add_argument("--threshold", type=_percent, metavar="PERCENT", help="fail where the cases hold fewer of the rules than this")
    add_tenant(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Prints what came of each case: 0 where all pass, 1 where one fails or too few rules are held, 5 where there is none to run."""
    files = [read_cases(path) for path in arguments.files]
    findings = [finding for file in files for finding in file.findings]
    if findings:
        print_findings(findings)
        return _FAILED
    chosen = [(file, case) for file in files for case in file.cases if _is_chosen(file, case, arguments.pattern)]
    if not chosen:
        print("no case matches" if arguments.pattern is not None else "no cases", file=sys.stderr)
        return _NO_TESTS
    measuring = arguments.coverage or arguments.threshold is not None
    results, covered = asyncio.run(_run(_by_config(chosen, arguments.config), arguments.tenant, measuring=measuring))
    _print(results, covered, arguments.format)
    if arguments.junit is not None:
        _write(arguments.junit, as_junit(results, covered))
    too_few = [one for one in covered if arguments.threshold is not None and one.coverage.percent < arguments.threshold]
    for one in too_few:
        print(
            f"{one.config}: the cases hold {one.coverage.percent:.1f} % of its rules, fewer than {arguments.threshold:g} %", file=sys.stderr
        )
    return _DONE if all(result.passed for result in results) and not too_few else _FAILED


def _write(path: Path, report: bytes) -> None:
    """Raises SmartGatewayError where the file cannot be written."""
    try:
        path.write_bytes(report)
    except OSError as error:
        raise SmartGatewayError(f"{path} cannot be written: {error.strerror}") from None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {error}") from None


def _percent(text: str) -> float:
    return number(text, 0.0, _HUNDRED)


def _is_chosen(file: CaseFile, case: Case, pattern: re.Pattern[str] | None) -> bool:
    return pattern is None or pattern.search(f"{file.path}: {case.name}") is not None


def _by_config(chosen: Iterable[tuple[CaseFile, Case]], given: Path | None) -> dict[Path | None, list[tuple[Path, Case]]]:
    """The cases of each policy; None is the default configuration of ``explain``."""
    found: dict[Path | None, list[tuple[Path, Case]]] = {}
    for file, case in chosen:
        config = given if given is not None else file.config
        found.setdefault(_short(config.resolve()) if config is not None else None, []).append((file.path, case))
    return found


async def _run(
    policies: dict[Path | None, list[tuple[Path, Case]]], tenant: str | None, *, measuring: bool
) -> tuple[list[Result], list[Covered]]:
    examined: dict[Path | None, Examination] = {
        config: examine_policy(config, tenant) for config in policies
    }  # all are read before any is run
    results: list[Result] = []
    covered: list[Covered] = []
    for config, cases in policies.items():
        examination = examined[config]
        assert examination.settings is not None
        async with Opened(examination.settings) as stage:
            found = [await _result(file, case, stage) for file, case in cases]
        results += found
        if measuring and config is not None:
            covered.append(Covered(str(config), await measure(examination, [result.case for result in found if result.passed])))
    return results, covered


async def _result(file: Path, case: Case, stage: Stage) -> Result:
    started = time.monotonic()
    try:
        outcome = await run_case(case, stage)
    except (UnknownIssuer, SmartGatewayError) as error:
        return Result(file, case, (str(error),), None, 0.0)
    return Result(file, case, objections(case.settings.expect, outcome), outcome, time.monotonic() - started)


def _short(path: Path) -> Path:
    """``path`` as seen from here, where it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _print(results: list[Result], covered: list[Covered], format: str) -> None:
    if format == "json":
        print(json.dumps(as_json(results, covered), indent=2, ensure_ascii=False))
        return
    print("\n".join([*_lines(results), *_coverage_lines(covered)]))


def _lines(results: list[Result]) -> Iterator[str]:
    for result in results:
        yield f"{'ok  ' if result.passed else 'FAIL'} {result.file}: {result.case.name}"
        yield from (f"     {objection}" for objection in result.objections)
        if not result.passed:
            yield f"     {result.case.place}"
    failed = sum(not result.passed for result in results)
    yield f"{len(results) - failed} of {len(results)} cases pass"


def _coverage_lines(covered: list[Covered]) -> Iterator[str]:
    for one in covered:
        held, loose = one.coverage.held, one.coverage.loose
        yield f"{one.config}: {len(held)} of {len(held) + len(loose)} rules are held by a case ({one.coverage.percent:.1f} %)"
        for rule in loose:
            said = f" {rule.text}" if rule.text else ""
            yield f"     {rule.place}: {rule.name}{said}: no case fails without it"
