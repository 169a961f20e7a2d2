"""What was measured, as a table: medians, ratios of figures of the same run, and the targets beside them."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from benchmarks.core import Cost
from benchmarks.load import Reading

Readings = Mapping[tuple[str, str], list[Reading]]  # (server, case): one reading a round

# Spec: docs/performance.md, targets: CPU microseconds for each request, and the share of the rate without enforcement.
_CPU = {"read": 80.0, "search 2 kB": 80.0, "search 50 kB": 150.0, "refusal": 45.0}
_SHARE = {"read, unfiltered": 0.90, "search 2 kB, unfiltered": 0.90, "search 50 kB": 0.65}
_TIMES_HTTPX = 10.0


def print_costs(costs: list[Cost]) -> None:
    """The pure parts alone."""
    print(f"{'in one process, no HTTP':44}{'us':>10}{'target':>10}")
    for cost in costs:
        print(f"{cost.name:44}{cost.micros:10.1f}{f'<= {cost.target:g}' if cost.target is not None else '':>10}")


def print_readings(readings: Readings) -> None:
    """Each server's figures, then the ratios that carry over to other machines."""
    print(f"\n{'server':24}{'case':28}{'req/s':>9}{'CPU us':>9}{'target':>10}")
    for server, case in readings:
        rate, cpu = _rate(readings, server, case), _cpu(readings, server, case)
        target = f"<= {_CPU[case]:g}" if server == "smart-gateway" and case in _CPU else ""
        print(f"{server:24}{case:28}{rate:9.0f}{cpu:9.1f}{target:>10}")
    print(f"\n{'ratio of req/s, same run':64}{'':>6}{'target':>10}")
    for case, target in _SHARE.items():
        _ratio(f"smart-gateway / same server and client, no enforcement: {case}", readings, case, "no enforcement", target)
    for other in ("Starlette + httpx", "nginx proxy_pass"):
        _ratio(f"smart-gateway / {other}: read", readings, "read", other, _TIMES_HTTPX if "httpx" in other else None)


def _ratio(name: str, readings: Readings, case: str, other: str, target: float | None) -> None:
    plain = case.removesuffix(", unfiltered")
    if ("smart-gateway", case) not in readings or (other, plain) not in readings:
        return
    ratio = _rate(readings, "smart-gateway", case) / _rate(readings, other, plain)
    print(f"{name:64}{ratio:6.2f}{f'>= {target:g}' if target is not None else '':>10}")


def _rate(readings: Readings, server: str, case: str) -> float:
    return median(reading.rate for reading in readings[server, case])


def _cpu(readings: Readings, server: str, case: str) -> float:
    return median(reading.cpu for reading in readings[server, case])
