"""The OpenAPI document says what the gateway does: the table's parameters, its errors, who needs a credential."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config import RedisSettings, Settings
from gateway.app import create_app
from gateway.domain import Endpoint
from gateway.errors import Unauthenticated
from gateway.prompt.policy import TABLES, Action

PUBLIC = {"/", "/health", "/health/live", "/health/ready", "/metrics", "/auth/login"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of a gateway with its default settings."""
    folder: Path = tmp_path_factory.mktemp("data")
    settings = Settings(data_dir=folder, redis=RedisSettings(url=SecretStr("unix:///none")))
    return create_app(settings).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return path and operation of each."""
    return [(path, operation) for path, item in document["paths"].items() for operation in item.values()]


def body_of(document: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """Return the schema of a hot route's body."""
    content = document["paths"][endpoint.value]["post"]["requestBody"]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_a_body_has_every_parameter_of_the_table_that_a_client_may_send_and_no_other(
    document: dict[str, Any], endpoint: Endpoint
) -> None:
    schema = body_of(document, endpoint)
    rows = {row.name: row for row in TABLES[endpoint].values() if row.action not in (Action.REFUSE, Action.SET)}
    assert set(schema["properties"]) == set(rows)
    assert schema["additionalProperties"] is False
    for name, row in rows.items():
        published = dict(schema["properties"][name])
        assert published.pop("description", "") == row.note
        assert published == (row.check.schema if row.check else {})


def test_every_error_is_told_in_the_shape_that_it_has(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        assert "422" not in operation["responses"], path
        shown = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert shown == {"$ref": "#/components/schemas/Error"}, path
    told = Unauthenticated("No.").envelope()["error"]
    published = document["components"]["schemas"]["Error"]["properties"]["error"]
    assert set(published["properties"]) == set(published["required"]) == set(told)


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(document["components"]["schemas"])


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names)) > 40


def test_what_needs_no_credential_says_so(document: dict[str, Any]) -> None:
    assert document["security"] == [{"bearer": []}]
    assert {path for path, operation in operations(document) if operation.get("security") == []} == PUBLIC
