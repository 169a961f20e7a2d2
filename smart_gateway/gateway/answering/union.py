"""Several upstream searches as one answer: asked side by side, each judged by its own rule, then merged (semantics 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.confine import judge_searchset
from smart_gateway.answers.merging import BranchPage, Merging
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.answering.conditions import wishes
from smart_gateway.gateway.answering.dependencies import settle
from smart_gateway.gateway.answering.failures import refusal_of
from smart_gateway.gateway.answering.judgement import Judgement
from smart_gateway.gateway.answering.paging import MOST_PASSED_OVER
from smart_gateway.gateway.exchange import JSON_TYPE
from smart_gateway.policy.plan import Branch, CheckUnion, Deny, UpstreamRequest
from smart_gateway.policy.unions import MOST_REQUESTS

_AT_ONCE = 4


async def answer_union(rule: CheckUnion, judgement: Judgement) -> Answer | Deny:
    """The next page of ``rule``; Deny for the face of absence. Raises RequestError, UpstreamError: half an answer is none."""
    merging, asking = Merging(rule, judgement.access), _Asking(judgement)
    queue, left = list(rule.branches), list[Branch]()
    turns = 0
    while queue and merging.room and asking.left >= asking.cost(group := _group(queue, rule)):
        pages = await asking.pages(group)
        if isinstance(pages, Deny):
            return pages
        queue = queue[len(group) :]
        left += merging.add(pages)
        if merging.is_empty and not queue and turns < MOST_PASSED_OVER:
            queue, left, turns = left, [], turns + 1
    left += queue
    whole = not left and judgement.request.interaction is not Interaction.PAGE
    links = judgement.links(UpstreamRequest("GET", ())).union_links(tuple(left), rule)
    return Answer(200, (JSON_TYPE,), merging.body(links, whole=whole))


def _group(queue: list[Branch], rule: CheckUnion) -> list[Branch]:
    """The branches to read together: in order all of them, else as many as are asked at once."""
    return queue if rule.sort else queue[:_AT_ONCE]


class _Asking:
    """The pages that were asked for one answer; ``left`` is how many may still be. Together they are no larger than one answer may be."""

    def __init__(self, judgement: Judgement) -> None:
        self._judgement = judgement
        self._had: dict[UpstreamRequest, BranchPage] = {}
        self._size = judgement.snapshot.answer_size
        self.left = MOST_REQUESTS

    def cost(self, branches: Sequence[Branch]) -> int:
        """How many requests ``branches`` need."""
        return sum(branch.upstream not in self._had for branch in branches)

    async def pages(self, branches: Sequence[Branch]) -> list[tuple[Branch, BranchPage]] | Deny:
        """The page of each. Raises what the first that fails raises."""
        fresh = [branch for branch in branches if branch.upstream not in self._had]
        self.left -= len(fresh)
        for start in range(0, len(fresh), _AT_ONCE):
            some = fresh[start : start + _AT_ONCE]
            for branch, page in zip(some, await asyncio.gather(*map(self._page, some), return_exceptions=True), strict=True):
                if isinstance(page, BaseException):
                    raise page
                if isinstance(page, Deny):
                    return page
                self._had[branch.upstream] = page
        return [(branch, self._had[branch.upstream]) for branch in branches]

    async def _page(self, branch: Branch) -> BranchPage | Deny:
        judgement, rule = self._judgement, branch.rule
        received = await judgement.inner.collect(branch.upstream, wishes(judgement.request))
        refusal = refusal_of(received, judgement.access.policy)
        if refusal is not None:
            return refusal
        raw = received.require_json(judgement.access.policy.vocabulary.release.version)
        self._size -= len(raw)
        if self._size < 0:
            raise UpstreamError("The FHIR server's answers are together larger than can be checked.")
        judged = await settle(lambda known: judge_searchset(raw, rule, judgement.access, known), judgement.access, judgement.inner)
        judgement.removed += judged.removed
        return BranchPage(judged, judgement.links(branch.upstream).onward(judged.found.links, rule))
