"""Names of series: in Prometheus's text format, and in the queries of dashboards and alerts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
_NAME = re.compile(r"\b(?:gateway_|vllm:|process_)[a-z][a-z0-9_]*\b")


def families_in(text: str) -> set[str]:
    """Return the sample names that a `/metrics` has, also of those that count nothing yet."""
    found: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        stem = name.removesuffix("_total") if kind == "counter" else name
        found |= {f"{stem}{suffix}" for suffix in _SUFFIXES.get(kind, ("",))}
    return found


def names_in(query: str) -> set[str]:
    """Return the series that a query reads."""
    return set(_NAME.findall(query))


def queries_of(root: Path) -> list[str]:
    """Return every query of the dashboards, their variables, and the alerts."""
    found = []
    for path in sorted((root / "helm" / "dashboards").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found += [target["expr"] for panel in content["panels"] for target in panel["targets"]]
        variables = content["templating"]["list"]
        found += [each["query"]["query"] for each in variables if isinstance(each["query"], dict)]
    alerts = yaml.safe_load((root / "helm" / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    return found + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
