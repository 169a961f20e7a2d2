"""The shape of the house: sizes, names, and which file may know which library (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "smart_gateway"
MODULES = sorted(PACKAGE.rglob("*.py"))
PURE_ROOMS = ("fhir", "scopes", "request", "boundary", "policy", "answers")

LONGEST_FUNCTION = 50
LONGEST_MODULE = 300
MOST_MODULES = 40  # in one directory

# Each outside library, and the rooms or files that may import it.
LIBRARIES = {
    "httpx": ("tokens/transport.py", "cli"),
    "aiohttp": ("gateway/upstream.py",),
    "jwt": ("tokens", "cli"),
    "cryptography": ("tokens", "answers/sealing.py", "cli", "demo/issuer.py"),
    "redis": ("tokens/redis_cache.py",),
    "cachetools": ("tokens", "policy", "gateway"),
    "yaml": ("settings",),
    "pydantic": ("settings",),
    "uvicorn": ("cli", "gateway/edge/protocol.py"),
}


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(), filename=str(module))


def name(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def imported(module: Path) -> set[str]:
    """The top-level names of what ``module`` imports."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def calls(module: Path) -> set[str]:
    """Dotted names that are called, such as ``datetime.now``."""
    return {ast.unparse(node.func) for node in ast.walk(tree(module)) if isinstance(node, ast.Call)}


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 20


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_functions_fit_on_a_screen(module: Path) -> None:
    too_long = {function.name: length(function) for function in functions(module) if length(function) > LONGEST_FUNCTION}
    assert not too_long


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_modules_are_short(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LONGEST_MODULE


def test_no_directory_is_a_heap() -> None:
    assert not [name(place) for place in {module.parent for module in MODULES} if len(list(place.glob("*.py"))) > MOST_MODULES]


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_every_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(tree(module)), "no module docstring"


def test_modules_are_named_by_what_they_hold() -> None:
    nouns_of_nothing = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
    assert not [name(module) for module in MODULES if nouns_of_nothing & {*module.stem.split("_"), module.parent.name}]


def test_only_the_command_line_prints() -> None:
    assert not [name(module) for module in MODULES if "print" in calls(module) and not name(module).startswith("cli/")]


def test_the_pure_rooms_ask_no_clock() -> None:
    clocks = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now", "uuid4", "uuid.uuid4"}
    pure = [module for module in MODULES if name(module).split("/")[0] in PURE_ROOMS]
    assert pure
    assert not [name(module) for module in pure if clocks & calls(module)]


def allowed(module: Path, places: tuple[str, ...]) -> bool:
    return any(name(module) == place or name(module).startswith(f"{place}/") for place in places)


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_library_is_known_to_few(library: str) -> None:
    assert not [name(m) for m in MODULES if library in imported(m) and not allowed(m, LIBRARIES[library])]
