"""``smart-gateway demo``: the main job with nothing else installed, and a tour that checks itself."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from typing import Any

from smart_gateway.cli.demonstration import Demonstration, demonstration
from smart_gateway.demo.tour import STEPS, VISITORS, Answer, Step, passes

_DONE, _FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    parser.add_argument("--check", action="store_true", help="run the tour, verify each answer, and end")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Serves until Ctrl-C; with ``--check`` 0 where every answer of the tour is the promised one, else 1."""
    return asyncio.run(_run(check=arguments.check, as_json=arguments.format == "json"))


async def _run(*, check: bool, as_json: bool) -> int:
    stopped = _until_stopped()
    async with demonstration() as running:
        if not as_json:
            _introduce(running)
        results = [(step, *await running.ask(step)) for step in STEPS]
        failed = [step for step, answer, _ in results if not passes(step, answer)]
        if as_json:
            print(json.dumps(_report(running, results), indent=2), flush=True)
        else:
            for step, answer, asked in results:
                print(_told(step, answer, asked))
            print(f"\n{len(results) - len(failed)} of {len(results)} answers are as they should be.", flush=True)
        if not check:
            print("Serving until Ctrl-C.", file=sys.stderr)
            await stopped.wait()
    return _FAILED if check and failed else _DONE


def _until_stopped() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the process
            loop.add_signal_handler(number, stopped.set)
    return stopped


def _introduce(running: Demonstration) -> None:
    print("smart-gateway stands between an embedded issuer and an embedded FHIR server, all in this process.\n")
    print(f"  gateway      {running.base}\n  FHIR server  {running.upstream}  (without any security)\n  issuer       {running.issuer}")
    print(f"  decisions    {running.log}\n")
    print("Three tokens; paste what you need into another shell:\n")
    for visitor in VISITORS:
        print(f"# {visitor.title}\n#   {visitor.scope}\n{visitor.name}={running.tokens[visitor.name]}\n")
    for client, secret in running.secrets.items():
        form = f"-d grant_type=client_credentials -d client_id={client} -d client_secret={secret}"
        print(f"# a further token for {client}\ncurl -s {form} {running.issuer}/token\n")
    for step in STEPS:
        print(_curl(step, running.base))
    print("\nThe tour:")


def _curl(step: Step, base: str) -> str:
    token = "" if step.visitor is None else f'-H "Authorization: Bearer ${step.visitor}" '
    return f"curl -s {token}'{base}{step.target}'"


def _told(step: Step, answer: Answer, asked: str) -> str:
    good = passes(step, answer)
    lines = [f"\n{'ok  ' if good else 'FAIL'} {step.title}", f"     GET {step.target}"]
    if step.upstream:
        lines.append(f"     the FHIR server was asked: {asked}")
    said = step.says(answer) if good else f"expected {step.status}, or another body: {json.dumps(answer.body)[:500]}"
    return "\n".join([*lines, f"     {answer.status}  {said}"])


def _report(running: Demonstration, results: list[tuple[Step, Answer, str]]) -> dict[str, Any]:
    steps = [
        {
            "title": step.title,
            "visitor": step.visitor,
            "target": step.target,
            "status": answer.status,
            "upstream": asked,
            "ok": passes(step, answer),
        }
        for step, answer, asked in results
    ]
    return {"base": running.base, "upstream": running.upstream, "issuer": running.issuer, "tokens": running.tokens, "tour": steps}
