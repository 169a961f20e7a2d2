"""Three-valued answers of matchers: True, False, or None where an element cannot be judged.

A filter admits on True only, and ``:not`` on False only, so that what cannot be judged is never admitted either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from smart_gateway.fhir.elements import Element

Test = Callable[[Element], bool | None]


def any_of(answers: Iterable[bool | None]) -> bool | None:
    """True where one is; else None where one is; else False."""
    result: bool | None = False
    for answer in answers:
        if answer:
            return True
        if answer is None:
            result = None
    return result
