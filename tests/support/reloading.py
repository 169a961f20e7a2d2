"""A policy that flips between two while clients ask: each answer must be right by the one or by the other, never by a mix of both, and
by the new one alone as soon as the gateway says that it is in force."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

Answer = tuple[Any, ...]
Policy = dict[str, Any]
_WITHIN = 60.0  # seconds


@dataclass(frozen=True)
class Ask:
    """One request with one of the tokens; ``batch`` are the targets of its entries."""

    token: str
    target: str
    batch: tuple[str, ...] = ()

    def content(self) -> Mapping[str, Any] | None:
        if not self.batch:
            return None
        entries = [{"request": {"method": "GET", "url": target}} for target in self.batch]
        return {"resourceType": "Bundle", "type": "batch", "entry": entries}


@dataclass
class Flipping:
    """A running gateway (by the ``pid`` of its process, which has as many workers as ``workers``) with its policy in ``file``.

    ``messages`` is what it has written to standard error so far. Generations count from 0; the policy of each is ``policies`` in turn.
    """

    base: str
    pid: int
    file: Path
    messages: Callable[[], str]
    policies: Sequence[Policy]
    workers: int = 1
    written: int = -1
    in_force: int = -1
    rounds: Counter[int] = field(default_factory=Counter)
    seen: Counter[int] = field(default_factory=Counter)  # answers by which policy

    async def flip(self) -> None:
        """The next policy, until it is in force: a warning about a client of that name is how the gateway tells of it."""
        generation = self.written + 1
        policy = self.policies[generation % len(self.policies)]
        marker = f"flip-{generation}"
        clients = {**policy["clients"], marker: {"limit": ["user/*.rs", "user/Patient.rs"]}}
        beside = self.file.with_suffix(".new")
        beside.write_text(yaml.safe_dump({**policy, "clients": clients}))
        self.written = generation
        beside.replace(self.file)
        os.kill(self.pid, signal.SIGHUP)
        await self._until(lambda: self.messages().count(f"clients.{marker}.") >= self.workers)
        assert "refused" not in self.messages(), self.messages()
        self.in_force = generation

    async def ask(self, http: httpx.AsyncClient, ask: Ask) -> Answer:
        """What of the answer the policy decides."""
        headers = {"authorization": f"Bearer {ask.token}", "content-type": "application/fhir+json"}
        content = ask.content()
        answer = await http.request("GET" if content is None else "POST", self.base + ask.target, headers=headers, json=content)
        body = answer.json()
        entries = body.get("entry", []) if answer.status_code == 200 else []
        found = [entry["response"]["status"][:3] if ask.batch else _told(entry["resource"]) for entry in entries]
        return answer.status_code, *(found if ask.batch else sorted(found))

    async def hold(self, asks: Sequence[Ask], flips: int, clients: int = 4) -> None:
        """Learns each policy's answers in quiet, then flips ``flips`` times while ``clients`` ask all of ``asks`` in turn."""
        async with httpx.AsyncClient(timeout=_WITHIN, trust_env=False) as http:
            right: list[dict[Ask, Answer]] = []
            for _ in self.policies:
                await self.flip()
                right.append({ask: await self.ask(http, ask) for ask in asks})
            same = [(ask.target, ask.batch, right[0][ask]) for ask in asks if len({answers[ask] for answers in right}) < len(right)]
            assert not same, same
            async with asyncio.timeout(_WITHIN * 2), asyncio.TaskGroup() as group:
                asking = [group.create_task(self._keep_asking(http, asks, right, number)) for number in range(clients)]
                for _ in range(flips):
                    await self.flip()
                    before = Counter(self.rounds)
                    await self._until(lambda before=before: all(self.rounds[n] >= before[n] + 1 for n in range(clients)))
                for task in asking:
                    task.cancel()
        assert min(self.seen[n] for n in range(len(right))) > flips, self.seen

    async def _keep_asking(self, http: httpx.AsyncClient, asks: Sequence[Ask], right: list[dict[Ask, Answer]], number: int) -> None:
        while True:
            for ask in (*asks[number % len(asks) :], *asks[: number % len(asks)]):
                first = self.in_force
                answer = await self.ask(http, ask)
                allowed = {generation % len(right) for generation in range(first, self.written + 1)}
                by = [policy for policy in allowed if right[policy][ask] == answer]
                assert by, (ask.target, ask.batch, answer, [right[policy][ask] for policy in allowed], first, self.written)
                self.seen[by[0]] += 1
            self.rounds[number] += 1

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(_WITHIN):
            while not holds():  # noqa: ASYNC110  # another process tells
                await asyncio.sleep(0.01)


def _told(resource: Mapping[str, Any]) -> str:
    """Which resource, and whether the element is there that one of the policies hides."""
    return f"{resource['resourceType']}/{resource['id']}{' born' if 'birthDate' in resource else ''}"
