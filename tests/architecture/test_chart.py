"""What the chart takes from the project is as the project says it now. `make helm-check` tests the rest."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from gateway import __version__
from tools.chart import readme_text, schema_text, settings_definitions

CHART = Path(__file__).parents[2] / "helm"
RENEW = "run: python tools/tables.py"


def test_the_schema_of_settings_is_current() -> None:
    assert (CHART / "values.schema.json").read_text(encoding="utf-8") == schema_text(), RENEW


def test_the_table_of_values_is_current_and_whole() -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    assert text == readme_text(), RENEW
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    tops = {name.partition(".")[0] for name in re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)}
    assert tops == set(values)


def test_every_test_that_the_checklist_names_is_there() -> None:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    points = re.findall(r"^\| (\d+) \|.*$", text, re.MULTILINE)
    assert points == [str(number) for number in range(1, 16)]
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", text))
    defined = {
        name
        for file in (CHART.parent / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named - defined == set()


def test_what_the_chart_refuses_of_the_example_of_a_file_is_named_under_it() -> None:
    page = (CHART.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    example, _, after = page.partition("```yaml static\n")[2].partition("```\n")
    groups = settings_definitions()["settings"]["properties"]
    given = [(group, name) for group, names in yaml.safe_load(example).items() for name in names]
    refused = {f"{group}.{name}" for group, name in given if name not in groups[group]["properties"]}
    assert refused
    assert refused <= set(re.findall(r"`([^`]+)`", after.partition("\n## ")[0]))


def test_the_chart_has_the_projects_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__
