"""What uvicorn may write to the log."""

from __future__ import annotations

import logging

import pytest

from smart_gateway.cli.serving import server
from smart_gateway.gateway.middleware import AnswerBrokenOff


async def _nothing(_scope: object, _receive: object, _send: object) -> None:
    """An app that does nothing."""


@pytest.mark.parametrize(("error", "logged"), [(AnswerBrokenOff("x"), False), (RuntimeError("x"), True), (None, True)])
def test_an_answer_that_was_broken_off_leaves_no_traceback(error: Exception | None, logged: bool, caplog: pytest.LogCaptureFixture) -> None:
    server(_nothing, "httptools", lifespan=False)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=error)
    assert bool(caplog.records) == logged
