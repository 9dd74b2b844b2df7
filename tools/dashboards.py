"""The Grafana dashboards, of the panels in `tools/dashboard_panels.py`: `python -m tools.dashboards` renews them.

A test holds the files to be current, and every series in them to be in the real metrics of the gateway or of vLLM.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.dashboard_panels import DASHBOARDS, Panel
from tools.renewal import renew

FOLDER = Path(__file__).resolve().parents[1] / "helm" / "dashboards"
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3


def dashboard(name: str) -> str:
    """Return the JSON of one dashboard."""
    title, panels, variables = DASHBOARDS[name]
    content = {
        "uid": f"gemma-{name}",
        "title": title,
        "tags": ["gemma-gateway"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source(), *(_variable(*pair) for pair in variables.items())]},
        "panels": [_panel(index, panel) for index, panel in enumerate(panels)],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    """A choice of many; `All` also takes what has no such label, as without Kubernetes."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(index: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    found: dict[str, Any] = {
        "id": index + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": source,
        "gridPos": {
            "x": index % _COLUMNS * _WIDTH,
            "y": index // _COLUMNS * _HEIGHT,
            "w": _WIDTH,
            "h": _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": source, "expr": expression, "legendFormat": legend}
            | ({"instant": True, "format": "table"} if panel.kind == "table" else {})
            for n, (legend, expression) in enumerate(panel.curves.items())
        ],
    }
    if panel.help:
        found["description"] = panel.help
    return found


def main() -> None:
    """Write every dashboard."""
    FOLDER.mkdir(exist_ok=True)
    renew({FOLDER / f"{name}.json": dashboard(name) for name in DASHBOARDS})


if __name__ == "__main__":
    main()
