"""The project's own files, parsed: what the tests of the architecture look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("config", "engine", "gateway")


@dataclass(frozen=True)
class Import:
    """One import: of which module, by which, where, and whether it is within a function."""

    importer: str
    target: str
    path: str
    line: int
    within_function: bool

    @property
    def place(self) -> str:
        """For people to find it."""
        return f"{self.path}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Module:
    """One Python file."""

    name: str
    path: Path
    is_package: bool

    @property
    def relative(self) -> str:
        """Its path from the project's root."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def tree(self) -> ast.Module:
        """Its syntax."""
        return ast.parse(self.path.read_text(encoding="utf-8"))


@cache
def modules(*packages: str) -> tuple[Module, ...]:
    """Return every module of these packages (all of the product where none is named)."""
    found = []
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            found.append(Module(".".join(parts[:-1] if is_package else parts), path, is_package))
    return tuple(found)


@cache
def imports(*packages: str) -> tuple[Import, ...]:
    """Return every import of these packages."""
    return tuple(each for module in modules(*packages) for each in _imports_of(module))


def _imports_of(module: Module) -> Iterator[Import]:
    names = {each.name for each in modules()}
    for node, within_function in _walk(module.tree, within_function=False):
        for target in _targets(node, module, names):
            yield Import(module.name, target, module.relative, getattr(node, "lineno", 0), within_function)


def _walk(node: ast.AST, *, within_function: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, within_function
    inner = within_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, within_function=inner)


def _targets(node: ast.AST, module: Module, names: set[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        # A relative import counts from the module's package, `level` 1 being that package itself.
        parts = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
        package = parts[: len(parts) - node.level + 1]
        base = ".".join([*package, *([node.module] if node.module else [])])
    submodules = [f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in names]
    return submodules if len(submodules) == len(node.names) else [base, *submodules]
