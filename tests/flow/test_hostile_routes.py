"""Every route that reads JSON, the next one too: fields of any type are a 4xx that says which, and never a failure."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.flow.test_every_route import IN_PATHS

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_TAKEN: list[Any] = [None, True, -1, 10**30, -1e308, "", "\x00", "﷽" * 50,
             [], [[]], [None, 1], {}, {"": {}}, {"$ref": "#"}, [[[[[[[[[[[[]]]]]]]]]]]]]  # fmt: skip

EVERY_NTH = 5
AT_ONCE = 16


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that a reference leads to."""
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


async def real_ids(gateway: GatewayProcess) -> dict[str, str]:
    """Return what stands in paths: of things that are there, so that the body is looked at."""
    session = (await gateway.client.post("/v1/sessions", json={})).json()["id"]
    key = (await gateway.client.post("/admin/keys", json={"tenant": "t", "user": "u"})).json()["id"]
    return {**IN_PATHS, "{session_id}": session, "{key_id}": key}


async def routes_with_fields(gateway: GatewayProcess) -> list[tuple[str, str, dict[str, Any]]]:
    """Return method, path and the schemas of the fields of each route that reads a JSON object."""
    document = (await gateway.client.get("/openapi.json")).json()
    ids = await real_ids(gateway)
    found = []
    for path, item in document["paths"].items():
        for name, value in ids.items():
            path = path.replace(name, value)
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                schema = resolved(document, content["schema"])
                found.append((method.upper(), path, schema.get("properties", {})))
    return found


def is_well(answer: httpx.Response) -> bool:
    """Whether an answer is a success, or an error of the client's in the usual shape."""
    if answer.status_code < 400:
        return True
    return answer.status_code < 500 and set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_no_value_of_any_field_makes_a_route_fail(gateway: GatewayProcess) -> None:
    """A field gets some of the values, the next field others, so that this stays short."""
    failed, asked = [], 0
    for method, path, fields in await routes_with_fields(gateway):
        bodies = [
            {name: value}
            for number, name in enumerate([*fields, "no_such_field"])
            for value in NOT_TAKEN[number % EVERY_NTH :: EVERY_NTH]
        ]
        for start in range(0, len(bodies), AT_ONCE):
            some = bodies[start : start + AT_ONCE]
            answers = await asyncio.gather(*(gateway.client.request(method, path, json=body) for body in some))
            asked += len(answers)
            failed += [
                f"{method} {path} {body}: {answer.status_code} {answer.text[:200]}"
                for body, answer in zip(some, answers, strict=True)
                if not is_well(answer)
            ]
    assert asked > 500
    assert failed == []
