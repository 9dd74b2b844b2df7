"""The tables of docs/metrics.md, from registry, alerts and dashboards: `python -m tools.metrics_page` renews them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Counter, Gauge, Histogram

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tallies import Tallies, TallyCounter
from tools.dashboard_panels import DASHBOARDS
from tools.renewal import renew

_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "docs" / "metrics.md"
_ALERTS = _ROOT / "helm" / "files" / "alerts.yaml"


def metrics_table() -> str:
    """Return every metric of the gateway: what it is scraped by, its type, its labels, and what it says."""
    rows = ["| metric | type | labels | what it says |", "| --- | --- | --- | --- |"]
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram | Tallies):
            name = f"{metric._name}_total" if isinstance(metric, Counter | TallyCounter) else metric._name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "–"
            rows.append(f"| `{name}` | {metric._type} | {labels} | {metric._documentation} |")
    return "\n".join(rows)


def alerts_table() -> str:
    """Return every alert: when it fires, for how long that has to hold, and how bad it is."""
    groups: list[dict[str, Any]] = yaml.safe_load(_ALERTS.read_text(encoding="utf-8"))["groups"]
    rows = ["| alert | severity | after | what it means |", "| --- | --- | --- | --- |"]
    for rule in (rule for group in groups for rule in group["rules"]):
        summary = rule["annotations"]["summary"]
        rows.append(f"| `{rule['alert']}` | {rule['labels']['severity']} | {rule.get('for', 'at once')} | {summary} |")
    return "\n".join(rows)


def dashboards_table() -> str:
    """Return every dashboard with its panels."""
    rows = ["| dashboard | panels |", "| --- | --- |"]
    for title, panels, _ in DASHBOARDS.values():
        rows.append(f"| {title} | {', '.join(panel.title.lower() for panel in panels)} |")
    return "\n".join(rows)


def page_text() -> str:
    """Return the page with current tables."""
    text = _PAGE.read_text(encoding="utf-8")
    for name, table in {"metrics": metrics_table(), "alerts": alerts_table(), "dashboards": dashboards_table()}.items():
        head, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, tail = rest.partition(f"<!-- /{name} -->")
        text = f"{head}{begin}{table}\n{end}{tail}"
    return text


def main() -> None:
    """Rewrite the page."""
    renew({_PAGE: page_text()})


if __name__ == "__main__":
    main()
