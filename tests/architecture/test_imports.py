"""Who may import whom. ARCHITECTURE.md draws it; this holds it."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.architecture.source_tree import Import, imports, modules

ROOMS = frozenset({"identity", "prompt", "responses", "sessions", "idempotency", "quota", "routing", "upstream"})

# From the top down: a component may import what stands below it, and nothing beside or above it.
LAYERS: list[frozenset[str]] = [
    frozenset({"__main__"}),
    frozenset({"cli"}),
    frozenset({"stack"}),
    frozenset({"commands"}),
    frozenset({"flags"}),
    frozenset({"server"}),
    frozenset({"app"}),
    frozenset({"api"}),
    frozenset({"lifespan"}),
    frozenset({"pipeline"}),
    frozenset({"reply", "counting"}),
    frozenset({"settlement", "owned"}),
    ROOMS,
    frozenset({"store"}),
    frozenset({"telemetry"}),
    frozenset({"errors"}),
    frozenset({"domain"}),
    frozenset({"value", "whole_message"}),
    frozenset({""}),  # The package itself, which has the version and nothing else.
]
RANKS = {component: rank for rank, layer in enumerate(LAYERS) for component in layer}

COMMAND_LINE = frozenset({"cli", "stack", "commands", "flags"})
"""These start the server's process or talk to it; they do not import it."""

CONTROL_PLANE = {
    "gateway/api/engine_stage.py": "asks the supervisor how far the engine's start is, for people who look",
    "gateway/commands/admin_client.py": "the commands that administer are clients of a running gateway",
    "gateway/commands/chat_client.py": "the terminal chat is a client like any other",
    "gateway/identity/key_source.py": "asks issuers of tokens for their keys",
    "gateway/routing/media_probe.py": "asks engines what they take",
    "gateway/routing/watcher.py": "asks engines for their health",
    "gateway/stack/progress.py": "asks the supervisor how far the engine's start is",
    "engine/__main__.py": "makes the client that the supervisor's probes share",
    "engine/demo/evaluation/run.py": "asks the demo model its questions",
    "engine/probe.py": "asks vLLM for its health and metrics",
}
"""Who may import httpx, and for what. Requests of clients go over the gateway's own connection."""

REDIS = {"gateway/store/redis.py"}

LATE_IMPORTS = {
    "gateway/cli.py": "the server brings the whole web stack, which no other command needs",
    "gateway/telemetry/tracing.py": "OpenTelemetry is an extra, and is loaded only where traces are wanted",
}
"""Who may import at run time, by `importlib.import_module`, and why."""

WEB_FRAMEWORK = {"api", "app"}


def component_of(module: str) -> str:
    """Return the part of the gateway that a module belongs to: `gateway.quota.bucket` → `quota`."""
    return module.split(".")[1] if "." in module else ""


def root_of(module: str) -> str:
    """Return the distribution's top package."""
    return module.split(".")[0]


def places(found: list[Import]) -> list[str]:
    """Return where these imports are."""
    return [each.place for each in found]


def test_every_part_of_the_gateway_has_a_layer() -> None:
    assert {component_of(module.name) for module in modules("gateway")} == set(RANKS)


def test_imports_go_down_only_and_rooms_never_import_each_other() -> None:
    wrong = [
        each
        for each in imports("gateway")
        if root_of(each.target) == "gateway"
        and component_of(each.importer) != component_of(each.target)
        and RANKS[component_of(each.importer)] >= RANKS[component_of(each.target)]
    ]
    assert places(wrong) == []


def test_the_command_line_starts_the_server_and_does_not_import_it() -> None:
    server = {"server", "app", "api", "lifespan", "pipeline", "reply", "counting", "settlement", "store", "telemetry"}
    server |= ROOMS - {"identity"}
    wrong = [
        each
        for each in imports("gateway")
        if component_of(each.importer) in COMMAND_LINE
        and root_of(each.target) == "gateway"
        and component_of(each.target) in server
    ]
    assert places(wrong) == []


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("gateway", {"vllm", "engine", "torch", "transformers", "tests"}),
        ("engine", {"vllm", "gateway", "tests"}),
        ("config", {"vllm", "engine", "gateway", "tests"}),
    ],
)
def test_a_package_never_imports_what_runs_in_another_process(package: str, forbidden: set[str]) -> None:
    assert places([each for each in imports(package) if root_of(each.target) in forbidden]) == []


def test_only_the_store_imports_redis() -> None:
    assert {each.path for each in imports() if root_of(each.target) == "redis"} == REDIS


def test_httpx_is_for_the_control_plane() -> None:
    assert {each.path for each in imports() if root_of(each.target) == "httpx"} == set(CONTROL_PLANE)


def test_the_web_framework_stays_at_the_edge() -> None:
    importers = {component_of(each.importer) for each in imports("gateway") if root_of(each.target) == "fastapi"}
    assert importers == WEB_FRAMEWORK


@pytest.mark.parametrize(
    ("module", "also"), [("domain", {"gateway.value"}), ("value", set()), ("whole_message", set())]
)
def test_what_everything_stands_on_needs_nothing_but_the_standard_library(module: str, also: set[str]) -> None:
    needed = {each.target for each in imports("gateway") if each.importer == f"gateway.{module}"}
    assert {name for name in needed if root_of(name) not in sys.stdlib_module_names} == also


def test_the_errors_need_nothing_but_the_domain() -> None:
    needed = {each.target for each in imports("gateway") if each.importer == "gateway.errors"}
    assert {name for name in needed if root_of(name) not in sys.stdlib_module_names} == {"gateway.domain"}


def test_nothing_is_imported_within_a_function() -> None:
    assert places([each for each in imports() if each.within_function]) == []


def test_nothing_is_imported_at_run_time_but_with_a_reason() -> None:
    late = set()
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
                late.add(module.relative)
    assert late == set(LATE_IMPORTS)


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {module.name: set() for module in modules()}
    for each in imports():
        if each.target in graph and each.target != each.importer:
            graph[each.importer].add(each.target)
    assert cycle_in(graph) == []


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle, none if there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph[name]):
            found = visit(target, [*path, name])
            if found:
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        found = visit(name, [])
        if found:
            return found
    return []


def test_a_circle_would_be_found() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_imports_that_this_test_judges_are_found() -> None:
    found = {(each.importer, each.target) for each in imports()}
    assert ("gateway.pipeline", "gateway.prompt") in found
    assert ("gateway.app", "gateway.api.health") in found
    assert ("gateway.quota.limiter", "config") in found
    assert len(found) > 300
