"""What the chart takes from the project: the schema of `settings` in values.yaml, and the README's table of values.

`python -m tools.chart` rewrites both, as does `python tools/tables.py`; a test holds them to be current.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from config.schema import Settings
from tools.renewal import renew

_CHART = Path(__file__).resolve().parents[1] / "helm"
_SCHEMA = _CHART / "values.schema.json"
_VALUES = _CHART / "values.yaml"
_README = _CHART / "README.md"

_DECIDED = frozenset(
    {
        *("data_dir", "routing.engines", "routing.dns"),
        *("server.host", "server.port", "server.drain_seconds", "server.processes", "telemetry.metrics_port"),
        *("engine.profile", "engine.host", "engine.port", "engine.status_port"),
        *("engine.startup_timeout_seconds", "engine.shutdown_timeout_seconds"),
    }
)
"""Settings that the chart derives from values of its own; given twice they could differ."""

Json = dict[str, Any]


def settings_definitions() -> Json:
    """Return the definitions for `$defs`: `settings`, and what it points to.

    Secrets are left out, since settings end up in a ConfigMap, and so is what the chart decides.
    """
    schema = Settings.model_json_schema()
    definitions: Json = {f"settings{name}": given for name, given in schema.pop("$defs", {}).items()}
    groups = {}
    for name, given in schema["properties"].items():
        target = given.get("$ref", "").rsplit("/", 1)[-1]
        if name in _DECIDED:
            continue
        groups[name] = _without(definitions.get(f"settings{target}"), name) or given
        definitions.pop(f"settings{target}", None)
    definitions = {name: _public(given) for name, given in definitions.items()}
    definitions["settings"] = {"type": "object", "additionalProperties": False, "properties": groups}
    text = json.dumps(definitions).replace("#/$defs/", "#/$defs/settings")
    found: Json = json.loads(text)
    return {name: found[name] for name in sorted(found)}


def _public(given: Json) -> Json:
    """Return a definition without what is secret in it."""
    if "properties" not in given:
        return given
    kept = {key: entry for key, entry in given["properties"].items() if not entry.get("writeOnly")}
    return {**given, "properties": kept}


def _without(group: Json | None, name: str) -> Json | None:
    if group is None or "properties" not in group:
        return group
    kept = {
        key: entry
        for key, entry in group["properties"].items()
        if not entry.get("writeOnly") and f"{name}.{key}" not in _DECIDED
    }
    return {**group, "properties": kept}


def schema_text() -> str:
    """Return values.schema.json with the definitions of `settings` as they are now."""
    schema: Json = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    own = {name: given for name, given in schema["$defs"].items() if not name.startswith("settings")}
    schema["$defs"] = own | settings_definitions()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def values_table() -> str:
    """Return the README's table: each value, its default and what it does, from schema and values."""
    schema: Json = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    values: Json = yaml.safe_load(_VALUES.read_text(encoding="utf-8"))
    rows = ["| value | default | what it does |", "| --- | --- | --- |"]
    rows += [
        f"| `{name}` | `{json.dumps(default)}` | {text} |".replace('`""`', "empty")
        for name, default, text in described(schema["properties"], values)
    ]
    return "\n".join(rows)


def described(properties: Json, values: Json, prefix: str = "") -> list[tuple[str, Any, str]]:
    """Return name, default and description of every value. Raises KeyError for one that values.yaml lacks."""
    found = []
    for name, given in properties.items():
        if name == "global":
            continue
        inner = given.get("properties")
        if inner:
            found += described(inner, values[name], f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", values[name], given["description"]))
    return found


def readme_text() -> str:
    """Return the chart's README with a current table."""
    text = _README.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- values -->\n).*?(<!-- /values -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{values_table()}\n{found[2]}", text)


def main() -> None:
    """Rewrite both files."""
    renew({_SCHEMA: schema_text(), _README: readme_text()})


if __name__ == "__main__":
    main()
