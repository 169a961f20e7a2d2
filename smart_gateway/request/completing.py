"""Requests whose body says what is asked: forms, batches, operations by POST. The gateway and ``explain`` read them here."""

from __future__ import annotations

from dataclasses import replace

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.request.batch import read_batch
from smart_gateway.request.body import read_form
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.operations import read_operation
from smart_gateway.request.parsing import RequestParser


def is_complete(request: FhirRequest) -> bool:
    """Whether ``authorize`` can judge the request without its body."""
    return not (request.form_pending or request.body_pending)


def body_limits(request: FhirRequest, limits: Limits) -> Limits:
    """``limits`` for the body that ``complete`` needs: a form has its own size."""
    return replace(limits, body=limits.form) if request.form_pending else limits


def complete(request: FhirRequest, body: bytes, parser: RequestParser, limits: Limits) -> FhirRequest:
    """``request`` with what its ``body`` says: parameters of a form, entries of a batch, the resource posted to an operation.

    Raises RequestError and its subclasses for bodies that cannot be read.
    """
    if request.form_pending:
        return read_form(request, body, limits)
    match request.interaction:
        case Interaction.BATCH:
            return read_batch(request, body, parser, limits, lambda entry, posted: complete(entry, posted, parser, limits))
        case Interaction.OPERATION:
            return read_operation(request, body, limits)
        case _:
            return request
