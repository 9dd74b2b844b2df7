"""The documents are held to the code: tables, paths, links, snippets, versions."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute
from prometheus_client import Counter, Gauge, Histogram
from starlette.routing import Mount, Route

from config import RedisSettings, Settings, TelemetrySettings
from config.describe import settings_tables
from config.load import setting_paths
from gateway import __version__, errors
from gateway.app import create_app
from gateway.domain import RequestId
from gateway.prompt.describe import DESCRIBED, parameter_tables
from gateway.settlement import Settlement
from gateway.telemetry.logging import RequestLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tallies import Tallies, TallyCounter

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESPONSES = (ROOT / "docs" / "responses.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ADRS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/adr/README.md", "helm/README.md")),
    *ADRS,
]
# Their snippets have tags, and a test of their own.
PAGES = sorted((ROOT / "docs").glob("*.md"))

SOURCES = (".ci", "config", "docs", "engine", "gateway", "helm", "tests", "tools")
FENCE = re.compile(r"^```(\w*)(?: [\w-]+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATH_SUFFIXES = (".py", ".lua", ".yaml", ".md", ".toml", ".sh", ".jinja")
# Folders of people, of CI runners and of tools. Data folders are named from `~`, and examples stay relative.
PRIVATE = re.compile(r"(?<![\w.~}])/(?:home|root|Users|work|workspace|builds|mnt)/\w")


def between(text: str, marker: str) -> str:
    """Return what stands between `<!-- marker -->` and `<!-- /marker -->`."""
    found = re.search(rf"^<!-- {marker} -->\n(.*?)\n<!-- /{marker} -->$", text, re.MULTILINE | re.DOTALL)
    assert found, f"the markers of {marker} are gone"
    return found[1]


def section(text: str, title: str) -> str:
    """Return the body of a second-level heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section '{title}'"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row but heads and rules."""
    lines = text.splitlines()
    body = [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("| ") and not line.startswith("| ---") and not after.startswith("| ---")
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def code_words(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def snippets(language: str) -> list[tuple[str, str]]:
    """Return the code blocks in `language` of all documents, each with its document's name."""
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in DOCUMENTS]
    return [(name, code) for name, text in texts for kind, code in FENCE.findall(text) if kind == language]


# Tables.


def test_the_table_of_settings_is_current() -> None:
    assert between(README, "settings") == settings_tables(), "paste the output of: python -m config.describe"


def test_the_table_of_settings_names_every_setting() -> None:
    named = [code_words(cells[0])[0] for cells in rows(settings_tables())]
    assert named == [".".join(path) for path in setting_paths()]


def test_no_default_of_a_secret_is_shown() -> None:
    secrets = [cells for cells in rows(settings_tables()) if cells[2] == "secret"]
    assert len(secrets) == 8
    assert {cells[3] for cells in secrets} == {"not shown"}


def test_the_table_of_settings_shows_nobodys_home() -> None:
    (data_dir,) = (cells for cells in rows(settings_tables()) if cells[0] == "`data_dir`")
    assert data_dir[3] == "`~/.local/share/gemma-gateway`"


@pytest.mark.parametrize(
    ("document", "marker", "described"),
    [
        (README, "parameters", "chats"),
        (README, "completion parameters", "completions"),
        (RESPONSES, "response parameters", "responses"),
    ],
)
def test_the_table_of_parameters_is_current(document: str, marker: str, described: str) -> None:
    assert between(document, marker) == parameter_tables(DESCRIBED[described]), "run: python tools/tables.py"


@pytest.mark.parametrize("described", DESCRIBED)
def test_the_table_of_parameters_names_every_parameter_once(described: str) -> None:
    tables = parameter_tables(DESCRIBED[described])
    for name in DESCRIBED[described]:
        own = [cells for cells in rows(tables) if name in code_words(cells[0])]
        ignored = [line for line in tables.splitlines() if line.startswith("Accepted") and f"`{name}`" in line]
        assert len(own) + len(ignored) == 1, name


def exposed(metric: Counter | Gauge | Histogram | Tallies[Any]) -> str:
    """Return the name that a metric is scraped by."""
    return f"{metric._name}_total" if isinstance(metric, Counter | TallyCounter) else str(metric._name)


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    metrics = [value for value in vars(Metrics()).values() if isinstance(value, Counter | Gauge | Histogram | Tallies)]
    expected = [[exposed(metric), metric._type, list(metric._labelnames)] for metric in metrics]
    found = [[code_words(cells[0])[0], cells[1], code_words(cells[2])] for cells in rows(section(README, "Metrics"))]
    assert sorted(found) == sorted(expected)


def test_the_table_of_the_log_line_is_that_of_the_code() -> None:
    out = io.BytesIO()
    log = RequestLog(TelemetrySettings(), out)
    Settlement(RequestId("req_1"), "POST", "/v1/models", 0.0, Metrics(), log, time.perf_counter).close()
    named = [name for cells in rows(section(README, "The log")) for name in code_words(cells[0])]
    assert named == list(json.loads(out.getvalue()))


def all_errors(kind: type[errors.GatewayError] = errors.GatewayError) -> Iterator[type[errors.GatewayError]]:
    """Yield every class of the tree that is raised as itself."""
    for child in kind.__subclasses__():
        yield child
        yield from all_errors(child)


def test_the_table_of_errors_is_that_of_the_code() -> None:
    table = rows(section(README, "Errors"))
    found = {(cells[0], word, cells[3]) for cells in table for word in code_words(cells[1])[:1]}
    expected = {(str(e.status), e.code, "yes" if e.retryable else "no") for e in all_errors() if e.code}
    # An invalid field has a code of its own or none, which the table says in words.
    assert {entry for entry in found if entry[1] != "param"} == expected


def test_every_route_is_in_the_table_of_endpoints(tmp_path: Path) -> None:
    redis = RedisSettings.model_validate({"url": "redis://127.0.0.1:9"})
    app = create_app(Settings(data_dir=tmp_path, redis=redis))
    routes = {(route.path, tuple(route.methods or ())) for route in app.routes if isinstance(route, Route | APIRoute)}
    routes |= {(route.path, ("GET",)) for route in app.routes if isinstance(route, Mount)}
    expected = {
        (path.replace(":path}", "}"), method) for path, methods in routes for method in methods if method != "HEAD"
    }
    table = rows(section(README, "Endpoints"))
    found = {(path, method) for cells in table for path in code_words(cells[0]) for method in cells[1].split(", ")}
    assert found == expected


# Names.


def is_repository_path(word: str) -> bool:
    """Whether a word in backticks reads as a path of this repository."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word):
        return False
    return word.split("/")[0] in SOURCES if "/" in word else word.endswith(PATH_SUFFIXES)


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES], ids=lambda path: path.name)
def test_every_path_and_link_leads_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    named = [ROOT / word for word in code_words(text) if is_repository_path(word)]
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    linked = [document.parent / link.partition("#")[0] for link in links if not link.startswith("#")]
    assert [str(path) for path in [*named, *linked] if not path.exists()] == []
    headings = [re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in _headings(text)]
    assert [link for link in links if link.startswith("#") and link[1:] not in headings] == []


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def test_every_package_is_on_the_map() -> None:
    packages = [path.parent.relative_to(ROOT) for top in SOURCES for path in (ROOT / top).rglob("__init__.py")]
    shown = [path for path in packages if path.parts[0] != "tests" or len(path.parts) == 2]
    assert [str(path) for path in shown if path.parts != ("gateway",) and f"`{path}/`" not in ARCHITECTURE] == []


def test_the_make_targets_named_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = code_words(FENCE.sub("", README)) + [code for name, code in snippets("sh") if name == "README.md"]
    named = {name for part in code for name in re.findall(r"^(?:[A-Z_]+=\S+ )*make ([a-z-]+)", part, re.MULTILINE)}
    assert {"run", "test"} <= named <= targets


def test_every_decision_is_in_the_index_and_numbered_in_order() -> None:
    index = rows((ROOT / "docs/adr/README.md").read_text(encoding="utf-8"))
    titles = [path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for path in ADRS]
    expected = [
        [f"{number:04}", f"[{title.partition('. ')[2]}]({path.name})"]
        for number, (title, path) in enumerate(zip(titles, ADRS, strict=True), 1)
    ]
    assert index == expected
    assert [title.partition(".")[0] for title in titles] == [str(number) for number in range(1, len(ADRS) + 1)]


def test_the_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    top = re.search(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert top
    assert top[1] == project["version"] == __version__


# Snippets.


@pytest.mark.parametrize(("document", "code"), snippets("sh"))
def test_shell_snippets_parse(document: str, code: str) -> None:
    done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), document


@pytest.mark.parametrize(("document", "code"), snippets("python"))
def test_python_snippets_parse(document: str, code: str) -> None:
    ast.parse(code, document)


@pytest.mark.parametrize(("document", "code"), snippets("json"))
def test_json_snippets_parse(document: str, code: str) -> None:
    assert json.loads(code), document


@pytest.mark.parametrize(("document", "code"), snippets("yaml"))
def test_yaml_snippets_are_settings(document: str, code: str) -> None:
    assert Settings.model_validate(yaml.safe_load(code)), document


# What must not be there.

UNTRUE = {
    r"no\s+authentication": "vLLM has --api-key; it is the gateway that sends engines no credential",
    r"pip install '?gemma-gateway": "the project is in no registry: pip install '.[extra]'",
    r"host\.docker\.internal": "on Linux a container does not reach what listens on 127.0.0.1 by it",
    r"up --detach --build\ncurl --fail": "the engine loads for minutes: wait until it answers",
}


def sources() -> Iterator[Path]:
    """Yield every text file of the project. (In a worktree `.git` is a file, which names its repository's place.)"""
    for path in [*ROOT.glob("*"), *(path for top in SOURCES for path in (ROOT / top).rglob("*"))]:
        if not {"__pycache__", "static", "node_modules", ".env", ".git"} & set(path.parts) and path.is_file():
            yield path


@pytest.mark.parametrize("untrue", UNTRUE)
def test_no_text_says_what_is_not_so(untrue: str) -> None:
    found = []
    for path in sources():
        if path.suffix in (".md", ".py", ".txt", ".yaml", ".json") and not {"tests", "data"} & set(path.parts):
            found += [path.relative_to(ROOT).as_posix()] * bool(re.search(untrue, path.read_text(encoding="utf-8")))
    assert found == [], UNTRUE[untrue]


def test_no_text_names_a_private_path() -> None:
    found = []
    for path in sources():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}…" for match in PRIVATE.finditer(text)]
    assert found == []
