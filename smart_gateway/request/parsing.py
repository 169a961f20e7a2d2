"""From the request line and headers to a ``FhirRequest``; what cannot be parsed without doubt is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smart_gateway.errors import MethodNotAllowed, RequestError, TargetTooLong
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.media import content_type
from smart_gateway.fhir.query import decode_query
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.request.headers import RequestHeaders, read_headers
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.request.parameters import read_parameters, requested_format
from smart_gateway.request.path import PathGrammar, Place
from smart_gateway.request.preferences import read_preferences


def _reads(interaction: Interaction) -> dict[str, Interaction]:
    return {"GET": interaction, "HEAD": interaction}


# Which methods each place takes, and what they then ask for. Spec: FHIR R4 http.html 3.1.0.1; semantics 1.
_METHODS: Mapping[Place, Mapping[str, Interaction]] = {
    Place.BASE: {**_reads(Interaction.SEARCH_SYSTEM), "POST": Interaction.BATCH},
    Place.METADATA: _reads(Interaction.CAPABILITIES),
    Place.SMART_CONFIGURATION: _reads(Interaction.SMART_CONFIGURATION),
    Place.PROTECTED_RESOURCE: _reads(Interaction.PROTECTED_RESOURCE),
    Place.SYSTEM_HISTORY: _reads(Interaction.HISTORY_SYSTEM),
    Place.SYSTEM_SEARCH: {"POST": Interaction.SEARCH_SYSTEM},
    Place.TYPE: {
        **_reads(Interaction.SEARCH_TYPE),
        "POST": Interaction.CREATE,
        "PUT": Interaction.UPDATE,
        "PATCH": Interaction.PATCH,
        "DELETE": Interaction.DELETE,
    },
    Place.TYPE_HISTORY: _reads(Interaction.HISTORY_TYPE),
    Place.TYPE_SEARCH: {"POST": Interaction.SEARCH_TYPE},
    Place.INSTANCE: {
        **_reads(Interaction.READ),
        "PUT": Interaction.UPDATE,
        "PATCH": Interaction.PATCH,
        "DELETE": Interaction.DELETE,
    },
    Place.INSTANCE_HISTORY: _reads(Interaction.HISTORY_INSTANCE),
    Place.VERSION: _reads(Interaction.VREAD),
    Place.COMPARTMENT: _reads(Interaction.SEARCH_COMPARTMENT),
    Place.COMPARTMENT_SEARCH: {"POST": Interaction.SEARCH_COMPARTMENT},
    Place.OPERATION: {**_reads(Interaction.OPERATION), "POST": Interaction.OPERATION},
    Place.EXPORT_STATUS: {**_reads(Interaction.OPERATION), "DELETE": Interaction.OPERATION},
    Place.EXPORT_FILE: _reads(Interaction.OPERATION),
}
_FORMS = frozenset({Place.SYSTEM_SEARCH, Place.TYPE_SEARCH, Place.COMPARTMENT_SEARCH})
_RAW_CONTENT = frozenset({Interaction.READ, Interaction.VREAD})
_DECIDED_BY_BODY = frozenset({Interaction.BATCH, Interaction.OPERATION})
_PAGED = frozenset({(Place.TYPE, Interaction.SEARCH_TYPE), (Place.BASE, Interaction.SEARCH_SYSTEM)})


class RequestParser:
    """Parses requests below one public base path for one FHIR release.

    ``base_path`` is the path of the public URL without a trailing slash (``/fhir``; ``""`` at the root of a host); ``public`` is that URL,
    below which the entries of a batch may name their targets too.
    """

    def __init__(self, vocabulary: Vocabulary, base_path: str, limits: Limits, public: str | None = None) -> None:
        self._base_path = base_path.rstrip("/")
        self._public = public
        self._grammar = PathGrammar(vocabulary.types, vocabulary.compartments, base_path)
        self._version = vocabulary.release.version
        self._limits = limits

    def parse(self, method: str, raw_path: bytes, query: bytes, headers: Sequence[tuple[bytes, bytes]]) -> FhirRequest:
        """The interaction that a request asks for. ``raw_path`` and ``query`` are the bytes of ASGI's ``raw_path`` and ``query_string``.

        Raises RequestError and its subclasses for faults of the request line, path and headers; whether parameters are known, and
        the body's media type, is judged later (semantics 10, order of judgement). A POST ``_search`` waits for ``read_form``.
        """
        if len(raw_path) + len(query) >= self._limits.url:
            raise TargetTooLong("The request target is longer than this gateway accepts.")
        target = self._grammar.parse(raw_path)
        interaction = _interaction(target.place, method)
        parameters = read_parameters(decode_query(query, self._limits.parameters)) if query else ()
        known = read_headers(headers, self._limits.headers)
        binary = target.type == "Binary" and interaction in _RAW_CONTENT
        page = _page(parameters) if (target.place, interaction) in _PAGED else None
        return FhirRequest(
            interaction if page is None else Interaction.PAGE,
            method,
            target.type,
            target.id,
            target.version,
            target.compartment,
            target.operation,
            parameters if page is None else (),
            read_preferences(known, self._version, format=requested_format(parameters), binary=binary),
            page,
            self._content_type(known),
            target.place in _FORMS,
            method == "POST" and interaction in _DECIDED_BY_BODY,
        )

    def parse_entry(self, method: str, url: str, headers: Sequence[tuple[bytes, bytes]]) -> FhirRequest:
        """The interaction that an entry of a batch asks for: ``url`` is relative to the base, or below the public one.

        Raises what ``parse`` raises. Spec: FHIR R4 http.html 3.1.0.11.1.
        """
        if self._public is not None and url.startswith((f"{self._public}/", f"{self._public}?")):
            url = url[len(self._public) :].removeprefix("/")
        elif "://" in url.partition("?")[0] or url.startswith("/"):
            raise RequestError("The URL of an entry is relative to the base of this gateway.", reason="foreign-url")
        path, _, query = url.encode("utf-8", "replace").partition(b"?")
        return self.parse(method, self._base_path.encode() + b"/" + path, query, headers)

    def _content_type(self, headers: RequestHeaders) -> str | None:
        text = headers.text(b"content-type")
        if text is None:
            return None
        parsed = content_type(text, self._version)
        if parsed is None:
            raise RequestError("The header Content-Type is malformed.", reason="malformed-header", expression="http.Content-Type")
        return parsed


def _interaction(place: Place, method: str) -> Interaction:
    methods = _METHODS[place]
    interaction = methods.get(method)
    if interaction is None:
        raise MethodNotAllowed("This path does not take this method.", allow=tuple(methods))
    return interaction


def _page(parameters: tuple[QueryParameter, ...]) -> str | None:
    """The sealed token of ``[type]?_page=`` or ``[base]?_page=``, beside which only ``_format`` may stand."""
    if "_page" not in [parameter.name for parameter in parameters]:
        return None
    others = [parameter for parameter in parameters if parameter.key != "_format"]
    if [parameter.key for parameter in others] != ["_page"]:
        raise RequestError("A paging link takes no other parameters.", reason="malformed-page", expression="http._page")
    return others[0].value
