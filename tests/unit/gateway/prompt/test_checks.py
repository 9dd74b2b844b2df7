"""Checks of single values, and the schemas that they publish."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prompt.checks import (
    Check,
    array,
    biases,
    boolean,
    count,
    either,
    identifier,
    integer,
    mapping,
    number,
    one_of,
    text,
    token_ids,
)

HUGE = 10**400
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

ALL = {
    "integer": integer(-1, 5),
    "count": count(),
    "number": number(0, 2),
    "boolean": boolean(),
    "text": text(3),
    "one_of": one_of("none", "auto"),
    "mapping": mapping(2),
    "array": array(2),
    "array of texts": array(2, text(3)),
    "either": either(text(3), array(2, text(3))),
    "biases": biases(2),
    "identifier": identifier(3),
    "token_ids": token_ids(3),
}


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (integer(-1, 5), [-1, 0, 5], [-2, 6, 1.0, "1", True, False, None, [], HUGE, float("nan")]),
        (count(), [1, 2, HUGE], [0, -1, 1.0, "1", True, None, [], float("inf")]),
        (number(0, 2), [0, 2, 0.0, 1.5, 2.0], [-0.1, 2.1, "1", True, None, HUGE, -HUGE, float("nan"), float("inf")]),
        (boolean(), [True, False], [0, 1, "true", None, []]),
        (text(3), ["", "abc", "早上好"], ["abcd", 1, None, ["a"], b"abc"]),
        (one_of("none", "auto"), ["none", "auto"], ["", "None", None, 1, [], {}, ["none"]]),
        (mapping(2), [{}, {"a": 1, "b": 2}], [{"a": 1, "b": 2, "c": 3}, [], None, "{}"]),
        (array(2), [[], [1, {}]], [[1, 2, 3], {}, None, "ab"]),
        (array(2, text(1)), [[], ["a", "b"]], [["ab"], [1], [None], ["a", 2], ["a", "b", "c"]]),
        (array(0), [[]], [[1], None]),
        (
            token_ids(3),
            [[0], [1, 2, 3], [999_999_999]],
            [[], [1] * 4, [-1], [10**9], [True], [1.0], ["1"], [[1]], 1, None],
        ),
        (identifier(3), ["a", "_-9"], ["", "abcd", "a b", "a\n", "é", "a:b", "²", 1, None, []]),
        (either(text(1), array(1, text(1))), ["", "a", [], ["a"]], ["ab", ["ab"], 1, None, {}]),
        (
            biases(2),
            [{}, {"5": -100}, {"5": 100, "2560": 0.5}],
            [
                {"five": 1},
                {"-5": 1},
                {"": 1},
                {"²": 1},
                {"1" * 10: 1},
                {"5": 101},
                {"5": None},
                {"5": True},
                {"5": [[]]},
                {"1": 0, "2": 0, "3": 0},
                [],
                None,
            ],
        ),
    ],
)
def test_a_check_passes_the_good_and_names_what_is_wrong_with_the_bad(
    check: Check, good: list[Any], bad: list[Any]
) -> None:
    assert [value for value in good if check.problem(value) is not None] == []
    assert [value for value in bad if check.problem(value) is None] == []


@given(JSON)
def test_a_check_answers_for_any_value_and_never_raises(value: Any) -> None:
    for check in ALL.values():
        problem = check.problem(value)
        assert problem is None or problem


@pytest.mark.parametrize("name", ALL)
def test_a_problem_fits_behind_must_be(name: str) -> None:
    problem = ALL[name].problem(object())
    assert problem is not None
    assert problem[0].islower()
    assert not problem.endswith(".")


def test_a_problem_of_a_list_says_what_its_items_must_be() -> None:
    assert array(2, text(3)).problem(1) == "a list of at most 2 items, each a text of at most 3 characters"


def test_a_problem_of_two_kinds_names_both() -> None:
    assert either(boolean(), text(3)).problem(1) == "true or false, or a text of at most 3 characters"


@pytest.mark.parametrize(
    ("check", "schema"),
    [
        (integer(-1, 5), {"type": "integer", "minimum": -1, "maximum": 5}),
        (count(), {"type": "integer", "minimum": 1}),
        (number(0, 2), {"type": "number", "minimum": 0, "maximum": 2}),
        (boolean(), {"type": "boolean"}),
        (text(3), {"type": "string", "maxLength": 3}),
        (one_of("a"), {"type": "string", "enum": ["a"]}),
        (mapping(2), {"type": "object", "maxProperties": 2}),
        (identifier(2), {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,2}$"}),
        (array(2), {"type": "array", "maxItems": 2, "items": {}}),
        (array(2, boolean()), {"type": "array", "maxItems": 2, "items": {"type": "boolean"}}),
        (either(boolean(), text(3)), {"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": 3}]}),
        (
            biases(2),
            {
                "type": "object",
                "maxProperties": 2,
                "propertyNames": {"pattern": "^[0-9]{1,9}$"},
                "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
            },
        ),
    ],
)
def test_a_check_publishes_its_bounds(check: Check, schema: dict[str, Any]) -> None:
    assert check.schema == schema
