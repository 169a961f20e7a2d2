"""Pages of which nothing is left are passed over, so that clients see what there is to see (semantics 4)."""

from __future__ import annotations

from smart_gateway.answers.answer import Answer
from smart_gateway.gateway.answering.conditions import wishes
from smart_gateway.gateway.answering.judgement import Judged, Judgement
from smart_gateway.gateway.subrequest import Received
from smart_gateway.policy.plan import Deny, UpstreamRequest

MOST_PASSED_OVER = 5


async def judge_onward(rule: Judged, asked: UpstreamRequest, received: Received, judgement: Judgement) -> Answer | Deny:
    """What ``judgement`` leaves of ``received``, or of the first page after it that something is left of; at most so many are passed over,
    then an empty page with its next link is the answer. Raises RequestError, UpstreamError."""
    answer = await judgement.judge(rule, asked, received)
    for _ in range(MOST_PASSED_OVER):
        if judgement.onward is None:
            break
        asked = judgement.onward
        received = await judgement.inner.collect(asked, wishes(judgement.request))
        if received.status != 200:
            break  # the link to it stays in the answer: whoever follows it learns why
        answer = await judgement.judge(rule, asked, received)
    return answer
