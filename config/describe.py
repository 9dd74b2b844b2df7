"""The README's table of settings, from the schema and the profiles: `python -m config.describe` prints it. Pure."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from config.load import variables_of
from config.schema import EngineProfile, Settings
from config.secret_files import SUFFIX

Schema = dict[str, Any]

_HEAD = "| setting | environment variable | type | default | what it does |\n| --- | --- | --- | --- | --- |"

_WORDS = {"string": "text", "boolean": "`true`, `false`", "number": "number", "integer": "whole number"}


def settings_tables() -> str:
    """Return one Markdown table for each group of settings, and one for those that stand in none."""
    schema = Settings.model_json_schema()
    parts = []
    alone = {}
    for name, given in schema["properties"].items():
        group = _resolved(given, schema)
        if "properties" not in group:
            alone[name] = group
            continue
        rows = [_row((name, key), _resolved(entry, schema)) for key, entry in group["properties"].items()]
        parts.append("\n".join([f"**{name}** – {group['description']}\n\n{_HEAD}", *rows]))
    rows = [_row((name,), entry) for name, entry in alone.items()]
    parts.append("\n".join([f"**in no group**\n\n{_HEAD}", *rows]))
    return "\n\n".join(parts)


def _resolved(given: Schema, schema: Schema) -> Schema:
    """Return `given` with what its `$ref` points to below what stands beside the `$ref`."""
    target = given.get("$ref")
    return {**schema["$defs"][target.rsplit("/", 1)[1]], **given} if target else given


def _row(path: tuple[str, ...], entry: Schema) -> str:
    variables = list(variables_of(path))
    if entry.get("writeOnly"):
        variables += [name + SUFFIX for name in variables]
    cells = [
        f"`{'.'.join(path)}`",
        ", ".join(f"`{name}`" for name in variables),
        _type(entry),
        _default(path, entry),
        entry["description"],
    ]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _type(entry: Schema) -> str:
    if "anyOf" in entry:
        return next(_type(kind) for kind in entry["anyOf"] if kind["type"] != "null")
    if entry.get("writeOnly"):
        return "secret"
    if "enum" in entry:
        return "one of " + ", ".join(f"`{word}`" for word in entry["enum"])
    if entry["type"] == "array":
        return "list, JSON" if "$ref" in entry["items"] else "list, `a,b`"
    if entry["type"] == "object":
        return "mapping, JSON"
    if entry.get("format") == "path":
        return "folder"
    return " ".join([_WORDS[entry["type"]], *_bounds(entry)])


def _bounds(entry: Schema) -> list[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {entry[name]:g}" for name, sign in signs.items() if name in entry]
    return [" and ".join(found)] if found else []


def _default(path: tuple[str, ...], entry: Schema) -> str:
    """Return the schema's default and, in brackets, what profiles put in its place. Nothing of a secret is shown."""
    if entry.get("writeOnly"):
        return "not shown"
    default = _shown(entry["default"])
    others = []
    for profile in (EngineProfile.GPU, EngineProfile.CPU, EngineProfile.DEMO):
        value = _of_profile(profile, path)
        if value is not None and path != ("engine", "profile"):
            others.append(f"{profile}: {_shown(value)}")
    return f"{default} ({', '.join(others)})" if others else default


def _of_profile(profile: EngineProfile, path: tuple[str, ...]) -> Any:
    text = resources.files("config").joinpath(f"profiles/{profile}.yaml").read_text(encoding="utf-8")
    value = yaml.safe_load(text)
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"`{value:.12g}`"
    if isinstance(value, dict):
        return f"`{json.dumps(value)}`" if value else "empty"
    text = ",".join(value) if isinstance(value, list | tuple) else str(value)
    if text.startswith("/") and Path(text).is_relative_to(Path.home()):
        text = f"~/{Path(text).relative_to(Path.home())}"  # The default folder is in the home of whoever reads it.
    return f"`{text}`" if text else "empty"


if __name__ == "__main__":
    print(settings_tables())
