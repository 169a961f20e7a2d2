"""A FHIR server in memory that searches by reference and gives its matches in pages, in the styles that servers have; and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx

from tests.support.asgi import UPSTREAM, Asked, Front, Reply, ScriptedUpstream, observation, outcome, searchset

Resource = Mapping[str, Any]

# Which element a parameter of the tests looks at.
_REFERENCES = {"subject": "subject", "performer": "performer", "patient": "subject", "asserter": "asserter", "recorder": "recorder"}
_DEFAULT_COUNT = 7


class PagingUpstream(ScriptedUpstream):
    """``style``: ``getpages`` (HAPI: a search at the base), ``offset`` (the search again) or ``cursor`` (an opaque word).

    ``widened``: ignores the parameters that name a patient, so that pages come of which nothing may stay.
    """

    def __init__(self, *resources: Resource, style: str = "getpages", widened: bool = False) -> None:
        super().__init__(*resources)
        self.style = style
        self.widened = widened
        self._searches: dict[str, tuple[str, list[tuple[str, str]]]] = {}

    def reply(self, asked: Asked) -> Reply:
        """A page of a search; instances and scripted replies as ever."""
        if asked.line in self.replies:
            return super().reply(asked)
        pairs = parse_qsl(asked.body.decode()) if asked.method == "POST" else asked.query
        given = dict(pairs)
        if "_getpages" in given or "cursor" in given:
            word = given.get("_getpages") or given["cursor"].partition("-")[0]
            offset = int(given["_getpagesoffset"] if "_getpages" in given else given["cursor"].partition("-")[2])
            if word not in self._searches:
                return Reply(410, outcome("the search is over"))
            path, pairs = self._searches[word]
            return self._page(path, pairs, offset)
        segments = asked.path.removesuffix("/_search").strip("/").split("/")
        if len(segments) != 1 or not segments[0]:
            return super().reply(asked)
        return self._page(segments[0], [pair for pair in pairs if pair[0] != "offset"], int(given.get("offset", 0)))

    def _page(self, type: str, pairs: list[tuple[str, str]], offset: int) -> Reply:
        given = dict(pairs)
        found = [r for r in self.stored.values() if r["resourceType"] == type and self._is_found(r, pairs)]
        for rule in reversed(given["_sort"].split(",") if "_sort" in given else []):
            found.sort(key=lambda r: _date(r, rule.removeprefix("-")), reverse=rule.startswith("-"))
        count = int(given.get("_count", _DEFAULT_COUNT))
        links = [{"relation": "self", "url": f"{UPSTREAM}/{type}?{urlencode(pairs)}"}]
        if offset + count < len(found):
            links.append({"relation": "next", "url": self._next(type, pairs, offset + count)})
        if offset:
            links.append({"relation": "previous", "url": self._next(type, pairs, max(offset - count, 0))})
        return Reply(200, searchset(*found[offset : offset + count], total=len(found), link=links))

    def _next(self, type: str, pairs: list[tuple[str, str]], offset: int) -> str:
        if self.style == "offset":
            return f"{UPSTREAM}/{type}?{urlencode([*pairs, ('offset', str(offset))])}"
        word = next((w for w, known in self._searches.items() if known == (type, pairs)), f"s{len(self._searches)}")
        self._searches[word] = (type, pairs)
        if self.style == "getpages":
            return f"{UPSTREAM}?_getpages={word}&_getpagesoffset={offset}&_bundletype=searchset"
        return f"{UPSTREAM}/{type}?cursor={word}-{offset}"

    def _is_found(self, resource: Resource, pairs: list[tuple[str, str]]) -> bool:
        wanted = [(name, value.split(",")) for name, value in pairs]
        if not all(resource["id"] in values for name, values in wanted if name == "_id" and not self.widened):
            return False
        if self.widened:
            return True
        return all(set(_references(resource, _REFERENCES[name])) & set(values) for name, values in wanted if name in _REFERENCES)


def _references(resource: Resource, member: str) -> list[str]:
    found = resource.get(member, resource.get("patient", []) if member == "subject" else [])
    return [item.get("reference", "") for item in (found if isinstance(found, list) else [found])]


def _date(resource: Resource, code: str) -> str:
    return str(resource["meta"]["lastUpdated"] if code == "_lastUpdated" else resource.get("effectiveDateTime", ""))


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in response.json().get("entry", [])]


def link(response: httpx.Response, relation: str = "next") -> str | None:
    return next((found["url"] for found in response.json()["link"] if found["relation"] == relation), None)


async def pages(front: Front, target: str, **options: Any) -> list[list[str]]:
    """The ids on every page, following next."""
    response = await front.request(options.pop("method", "GET"), target, **options)
    found = [ids(response)]
    while (url := link(response)) is not None:
        response = await front.get(url)
        found.append(ids(response))
        assert len(found) < 200
    return found


def performed(id: str, patient: str = "123", subject: str = "456", **members: Any) -> dict[str, Any]:
    return observation(id, subject, performer=[{"reference": f"Patient/{patient}"}], **members)
