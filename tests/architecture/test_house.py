"""The house's habits: small files with honest names, nothing half done, nothing left over."""

from __future__ import annotations

import ast
import io
import re
import tokenize

import pytest

from tests.architecture.source_tree import Module, modules

PRODUCT = modules()
EVERYTHING = (*PRODUCT, *modules("tests"))

MAX_LINES = 300
MAX_TEST_LINES = 600
"""Tests are read one by one, and tables are long."""

LONG_FILES: dict[str, str] = {
    "gateway/errors.py": "one tree, to be seen whole; each class is a few lines",
}
"""Files of the product with more lines, and why each is one file all the same."""

NAMELESS = frozenset({"utils", "util", "helpers", "helper", "common", "base", "manager", "misc", "core", "shared"})
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
STATEMENTS = (ast.Assign, ast.AugAssign, ast.Import, ast.ImportFrom, ast.Return, ast.Raise, ast.Delete)


def lines_of(module: Module) -> int:
    """Return how long a file is."""
    return len(module.path.read_text(encoding="utf-8").splitlines())


def comments_of(module: Module) -> list[tuple[int, str]]:
    """Return a file's comments with their lines."""
    tokens = tokenize.generate_tokens(io.StringIO(module.path.read_text(encoding="utf-8")).readline)
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]


def is_code(comment: str) -> bool:
    """Say whether a comment is a statement that was switched off."""
    text = comment.lstrip("#").strip()
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return False
    return any(
        isinstance(node, STATEMENTS) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await))
        for node in body
    )


def test_files_of_the_product_are_short_or_listed_with_a_reason() -> None:
    long = {module.relative for module in PRODUCT if lines_of(module) >= MAX_LINES}
    assert long == set(LONG_FILES)
    assert all(LONG_FILES.values())


def test_most_files_of_the_product_are_short() -> None:
    lengths = sorted(map(lines_of, PRODUCT))
    assert lengths[len(lengths) // 2] < 100


def test_files_of_tests_are_not_endless() -> None:
    assert [module.relative for module in modules("tests") if lines_of(module) >= MAX_TEST_LINES] == []


def test_no_module_is_named_for_nothing_in_particular() -> None:
    wrong = [module.relative for module in EVERYTHING if set(module.name.split(".")) & NAMELESS]
    assert wrong == []


@pytest.mark.parametrize("module", PRODUCT, ids=lambda module: module.relative)
def test_a_module_says_why_it_exists(module: Module) -> None:
    assert ast.get_docstring(module.tree) or lines_of(module) == 0


def test_nothing_is_left_to_be_done() -> None:
    found = [
        f"{module.relative}:{line}: {text}"
        for module in EVERYTHING
        if module.path.name != "test_house.py"
        for line, text in comments_of(module)
        if MARKS.search(text)
    ]
    assert found == []


def test_no_code_is_commented_out() -> None:
    found = [
        f"{module.relative}:{line}: {text}"
        for module in EVERYTHING
        for line, text in comments_of(module)
        if is_code(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("comment", "code"),
    [
        ("# x = 1", True),
        ("#import os", True),
        ("# print(x)", True),
        ("# return None", True),
        ("# await send()", True),
        ("# A sentence, as it should be.", False),
        ("# fmt: skip", False),
        ("# type: ignore[misc]", False),
        ("# noqa: S603 - fixed arguments", False),
        ("# Redis", False),
    ],
)
def test_commented_code_is_told_from_a_sentence(comment: str, code: bool) -> None:
    assert is_code(comment) is code


def test_a_broad_except_raises_again_or_says_why() -> None:
    """`except Exception` and `except BaseException` are for cleaning up, or for a boundary that logs."""
    boundaries = {"gateway/api/faults.py"}
    found = []
    for module in PRODUCT:
        for node in ast.walk(module.tree):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            )
            if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
                found.append(module.relative)
    assert set(found) <= boundaries


def test_only_constants_and_loggers_live_at_module_level() -> None:
    """No state: a name that is assigned at module level is written like a constant, a type, a logger or a router."""
    found = []
    for module in PRODUCT:
        for node in module.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            wrong = [name for name in names if not re.fullmatch(r"_?[A-Z]\w*|__\w+__|router|_?log|_?logger", name)]
            found += [f"{module.relative}:{node.lineno}: {name}" for name in wrong]
    assert found == []
