"""The command line: one module for each verb, loaded only when the verb is asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from smart_gateway.errors import SettingsError, SmartGatewayError

DONE, FAILED, USAGE, DENIED = 0, 1, 2, 3
_INTERRUPTED = 130  # 128 and SIGINT, as shells count

_VERBS = {
    "serve": "run the gateway in front of a FHIR server",
    "demo": "run the gateway between an embedded issuer and an embedded FHIR server",
    "check-config": "say everything that serve would refuse, all at once",
    "explain": "one decision, and why",
    "scopes": "how each scope string is read",
    "test": "run cases of who may do what under a policy",
    "compare": "what a change of the policy opens and closes",
    "suggest": "the least that would have allowed what decision logs say was allowed",
    "schema": "the JSON Schema of the settings",
    "healthcheck": "ask a running gateway whether it is ready",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and answers its exit code: 0 done or permitted, 1 failed, 2 usage, 3 denied."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser(given).parse_args(given)
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_pipe()
        return FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SettingsError as error:
        print_lines(error.text, *error.findings)
        return FAILED
    except SmartGatewayError as error:
        print_lines(error.text)
        return FAILED
    return code


def print_lines(*lines: object) -> None:
    """Messages for people, on standard error."""
    for line in lines:
        print(line, file=sys.stderr)


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with the options of the one verb that ``given`` names, so that no other verb's module is loaded."""
    parser = argparse.ArgumentParser(prog="smart-gateway", description="SMART on FHIR enforcement in front of any FHIR server.")
    parser.add_argument("--version", action="version", version=_version())
    verbs = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    asked = next((text for text in given if not text.startswith("-")), None)
    for verb, help in _VERBS.items():
        below = verbs.add_parser(verb, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
        if verb == asked:
            module = import_module(f"{__name__}.{verb.replace('-', '_')}")
            module.add_arguments(below)
            below.set_defaults(run=module.run)
    return parser


def _version() -> str:
    from smart_gateway import __version__

    return f"smart-gateway {__version__}"


def _leave_pipe() -> None:
    """Whoever read our output has gone: the interpreter must not fail again when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
