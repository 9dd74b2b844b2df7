"""Whatever is wrong with a request, and at whichever route: OpenAI's error shape, our id, and word about a retry."""

from __future__ import annotations

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHODS = ("GET", "POST", "PATCH", "DELETE")
IN_PATHS = {
    "{session_id}": "sess_" + "0" * 32,
    "{response_id}": "resp_" + "0" * 32,
    "{key_id}": "key_0123456789abcdef",
    "{model}": "none",
}
PUBLIC = {("GET", path) for path in ("/", "/health", "/health/live", "/health/ready", "/metrics")}
WITHOUT_CREDENTIAL = {*PUBLIC, ("POST", "/auth/login")}
NO_OBJECTS = (b"{", b"[]", b'{"a": "\xff"}')


async def routes_of(gateway: GatewayProcess) -> dict[str, set[str]]:
    """Return the methods of each route, by a path that nothing is behind. (A test holds the document to be whole.)"""
    document = (await gateway.client.get("/openapi.json")).json()
    found = {}
    for path, item in document["paths"].items():
        for name, value in IN_PATHS.items():
            path = path.replace(name, value)
        found[path] = {method.upper() for method in item}
    # What has another route's name may also be an id.
    found["/v1/responses/input_tokens"] |= found["/v1/responses/resp_" + "0" * 32]
    return found


async def json_routes_of(gateway: GatewayProcess) -> list[tuple[str, str]]:
    """Return method and path of each route that reads a JSON object."""
    document = (await gateway.client.get("/openapi.json")).json()
    routes = await routes_of(gateway)
    items = zip(routes, document["paths"].values(), strict=True)
    return [
        (method.upper(), path)
        for path, item in items
        for method, operation in item.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]


def problem_with(answer: httpx.Response, status: int, code: str) -> str | None:
    """Return what is wrong with the answer to a wrong request, None if it is as it must be."""
    told = f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:200]}"
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError):
        return told
    right = (
        set(error) == {"message", "type", "param", "code"}
        and (answer.status_code, error["code"], error["type"]) == (status, code, "invalid_request_error")
        and bool(error["message"])
        and answer.headers["x-request-id"].startswith("req_")
        and answer.headers["x-should-retry"] == "false"
    )
    return None if right else told


async def test_a_method_that_a_route_has_not_is_a_405_that_names_those_it_has(gateway: GatewayProcess) -> None:
    problems = []
    for path, methods in (await routes_of(gateway)).items():
        for method in set(METHODS) - methods:
            answer = await gateway.client.request(method, path)
            problems.append(problem_with(answer, 405, "method_not_allowed"))
            assert set(answer.headers["allow"].split(", ")) & methods, path
    assert len(problems) > 100
    assert [problem for problem in problems if problem] == []


async def test_without_a_credential_every_route_but_the_public_ones_is_a_401(gateway: GatewayProcess) -> None:
    problems = []
    for path, methods in (await routes_of(gateway)).items():
        for method in methods:
            if (method, path) not in WITHOUT_CREDENTIAL:
                answer = await gateway.client.request(method, path, headers={"authorization": ""})
                problems.append(problem_with(answer, 401, "invalid_api_key"))
    assert len(problems) > 40
    assert [problem for problem in problems if problem] == []


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1", "/chat", "/static", "/docs/x"])
async def test_a_route_that_is_not_there_is_a_404(gateway: GatewayProcess, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await gateway.client.request(method, path)
        assert problem_with(answer, 404, "not_found") is None


async def test_what_is_no_json_object_is_a_400_with_one_code_wherever_it_is_sent(gateway: GatewayProcess) -> None:
    problems = []
    for method, path in await json_routes_of(gateway):
        for body in NO_OBJECTS:
            headers = {"content-type": "application/json"}
            answer = await gateway.client.request(method, path, content=body, headers=headers)
            problem = problem_with(answer, 400, "invalid_json")
            problems.append(problem and f"{body!r} to {problem}")
    assert len(problems) > 40
    assert [problem for problem in problems if problem] == []


async def test_a_body_that_is_not_said_to_be_json_is_a_415(gateway: GatewayProcess) -> None:
    """As `curl -d` without a header sends it."""
    problems = []
    for method, path in await json_routes_of(gateway):
        if path == "/v1/tokenize":
            continue  # Forgives it.
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = await gateway.client.request(method, path, content=b"{}", headers=headers)
        problems.append(problem_with(answer, 415, "unsupported_media_type"))
    assert [problem for problem in problems if problem] == []
