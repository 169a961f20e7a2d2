"""Which rules of a policy its cases hold: a rule is held where some case that passes would fail without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from smart_gateway.policing.trial import Stage, run_case
from smart_gateway.policing.verdicts import objections
from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.building.snapshot import build
from smart_gateway.settings.cases import Case
from smart_gateway.settings.loading import Examination
from smart_gateway.settings.model import Settings
from smart_gateway.settings.policy_files import Rule, rules, without


@dataclass(frozen=True, slots=True)
class Coverage:
    """The rules of one policy. Those that say what holds anyway, and those without which the settings are refused, are not among them."""

    held: tuple[Rule, ...]
    loose: tuple[Rule, ...]

    @property
    def percent(self) -> float:
        """100 for a policy without rules."""
        count = len(self.held) + len(self.loose)
        return 100.0 * len(self.held) / count if count else 100.0


async def measure(examination: Examination, cases: Iterable[Case]) -> Coverage:
    """Takes each rule away in turn and runs ``cases``, all of which must pass with it, until one fails."""
    held, loose, order = [], [], list(cases)
    for rule, settings in _weakened(examination):
        noticed = await _notice(order, settings)
        if noticed is None:
            loose.append(rule)
            continue
        held.append(rule)
        order.remove(noticed)
        order.insert(0, noticed)  # rules that stand together are held by the same cases
    return Coverage(tuple(held), tuple(loose))


def _weakened(examination: Examination) -> Iterator[tuple[Rule, Settings]]:
    """Each rule that says something, and the settings without it."""
    assert examination.settings is not None
    policy = build_policy(examination.settings)
    for rule in rules(examination):
        settings = without(examination, rule)
        if settings is not None and build_policy(settings) != policy:
            yield rule, settings


async def _notice(cases: Iterable[Case], settings: Settings) -> Case | None:
    """The first case that fails under ``settings``."""
    async with Opened(settings) as stage:
        for case in cases:
            if objections(case.settings.expect, await run_case(case, stage)):
                return case
    return None


class Opened:
    """What ``settings`` build, for as long as it is used."""

    def __init__(self, settings: Settings) -> None:
        self._built = build(settings, recording=False)

    async def __aenter__(self) -> Stage:
        return Stage(self._built.snapshot, self._built.issuers)

    async def __aexit__(self, *_error: object) -> None:
        await self._built.aclose()
