"""Several processes on the same sockets, forked before anything runs, looked after by one that only waits."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_SHORT_LIFE = 5.0  # seconds; a worker that ends sooner is not replaced at once, so that a broken start cannot spin


def supervise(count: int, work: Callable[[], int]) -> int:
    """Runs ``work`` in ``count`` forked processes until SIGTERM or SIGINT, which it passes on as it does SIGHUP; replaces those that
    end by themselves. Answers 0 when all workers ended well after that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # they are waited for: none can come between two instructions
    workers = {_fork(work): time.monotonic() for _ in range(count)}
    stopping, codes = False, []
    while workers:
        caught = signal.sigwait(_SIGNALS)
        if caught == signal.SIGHUP:
            _tell(workers, signal.SIGHUP)
        elif caught != signal.SIGCHLD:
            stopping = True
            _tell(workers, signal.SIGTERM)
        for pid, code in _ended(workers):
            lived = time.monotonic() - workers.pop(pid)
            if stopping:
                codes.append(code)
                continue
            logger.error("worker %d ended with code %d after %.0f s; another one begins", pid, code, lived)
            time.sleep(1.0 if lived < _SHORT_LIFE else 0.0)
            workers[_fork(work)] = time.monotonic()
    return 0 if not any(codes) else 1


def _fork(work: Callable[[], int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        code = work()
    except BaseException:
        logger.exception("the worker failed")
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _tell(workers: dict[int, float], number: signal.Signals) -> None:
    for pid in workers:
        os.kill(pid, number)


def _ended(workers: dict[int, float]) -> list[tuple[int, int]]:
    """The workers that have ended, with their exit codes; one killed by a signal has the code that shells give it."""
    ended = []
    for pid in list(workers):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            ended.append((pid, code if code >= 0 else 128 - code))
    return ended
