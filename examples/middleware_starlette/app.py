"""A small FHIR server in Starlette with the gateway around it, mounted at /fhir. See README.md."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from smart_gateway import SmartGateway, load_settings

HERE = Path(__file__).parent
FHIR_JSON = "application/fhir+json"

RECORDS = {
    "Patient/amy": {"resourceType": "Patient", "id": "amy", "name": [{"family": "Abel"}]},
    "Patient/ben": {"resourceType": "Patient", "id": "ben", "name": [{"family": "Berg"}]},
    "Observation/amy-pulse": {
        "resourceType": "Observation",
        "id": "amy-pulse",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/amy"},
        "valueQuantity": {"value": 72, "unit": "/min"},
    },
    "Observation/ben-pulse": {
        "resourceType": "Observation",
        "id": "ben-pulse",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/ben"},
        "valueQuantity": {"value": 88, "unit": "/min"},
    },
}


async def read(request: Request) -> Response:
    """One resource. Who may see it is none of this server's business."""
    found = RECORDS.get(f"{request.path_params['type']}/{request.path_params['id']}")
    if found is None:
        outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-found"}]}
        return JSONResponse(outcome, 404, media_type=FHIR_JSON)
    return JSONResponse(found, media_type=FHIR_JSON)


async def search(request: Request) -> Response:
    """Everything of one type: this server knows no search parameter at all, and the gateway checks what it answers."""
    type = request.path_params["type"]
    base = str(request.base_url).rstrip("/")
    entries = [
        {"fullUrl": f"{base}/{name}", "resource": resource, "search": {"mode": "match"}}
        for name, resource in RECORDS.items()
        if name.startswith(f"{type}/")
    ]
    return JSONResponse({"resourceType": "Bundle", "type": "searchset", "entry": entries}, media_type=FHIR_JSON)


async def metadata(_request: Request) -> Response:
    """What this server says of itself; the gateway serves it with SMART's security section."""
    resources = [{"type": type, "interaction": [{"code": "read"}, {"code": "search-type"}]} for type in ("Patient", "Observation")]
    statement = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": resources}],
    }
    return JSONResponse(statement, media_type=FHIR_JSON)


async def home(_request: Request) -> Response:
    """Beside the FHIR server, the application is what it was."""
    return PlainTextResponse("The FHIR server is at /fhir.\n")


fhir = Starlette(routes=[Route("/metadata", metadata), Route("/{type}/{id}", read), Route("/{type}", search)])
guarded = SmartGateway(fhir, settings=load_settings(HERE / "gateway.yaml"))
app = Starlette(routes=[Route("/", home), Mount("/fhir", guarded)])
