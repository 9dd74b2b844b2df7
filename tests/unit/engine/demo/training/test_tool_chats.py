"""Chats with tools: the question has what the call has, and no other tool that is offered would do as well."""

from __future__ import annotations

import json
import re
from itertools import combinations
from random import Random

import pytest

from engine.demo.training import tool_chats
from engine.demo.training.chats import chat
from engine.demo.training.grammar import decided
from engine.demo.training.offered_tools import Tool, alike, may_mean, offered, some_tools, table
from engine.demo.training.topics import REFUSALS

TOOLS = {tool.names[0]: tool for tool in table().tools}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_a_tool_has_names_a_text_and_ways_to_ask_which_name_what_it_needs(tool: Tool) -> None:
    slots = {argument.slot for argument in tool.arguments}
    needed = {argument.slot for argument in tool.arguments if not argument.optional}
    assert tool.does
    assert len(set(tool.names)) >= 3
    assert len(tool.asks) >= 7
    for ask in (decided(Random(seed), ask) for ask in tool.asks for seed in range(9)):
        assert needed <= set(re.findall(r"{(\w+)}", ask)) <= slots


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_a_call_fits_the_tool_that_is_sent_and_the_question(tool: Tool) -> None:
    rng = Random(1)
    for _ in range(20):
        sent = offered(rng, tool)
        said, arguments = tool_chats.wanted(rng, sent)
        parameters = sent.spec["function"]["parameters"]
        assert set(parameters.get("required", ())) <= arguments.keys() <= parameters["properties"].keys()
        assert all(str(value) in said for value in arguments.values())
        for key, value in arguments.items():
            assert value in parameters["properties"][key].get("enum", [value])


def test_an_article_goes_with_its_value() -> None:
    rng = Random(1)
    job = offered(rng, TOOLS["find_job"])
    said = [tool_chats.wanted(rng, job)[0].lower() for _ in range(500)]
    assert any("an engineer" in text for text in said)
    assert not any(re.search(r"\ba [aeio]", text) for text in said)


def test_an_optional_argument_is_in_the_call_only_if_it_is_said() -> None:
    rng = Random(1)
    weather = table().tools[0]
    calls = [tool_chats.wanted(rng, offered(rng, weather)) for _ in range(300)]
    with_unit = [len(arguments) == 2 for _, arguments in calls]
    said = [re.search("celsius|fahrenheit", question, re.IGNORECASE) is not None for question, _ in calls]
    assert with_unit == said
    assert {True, False} == set(said)


def test_tools_that_are_offered_together_are_told_apart() -> None:
    rng = Random(1)
    for _ in range(300):
        sent = some_tools(rng)
        assert not any(alike(one.tool, other.tool) for one, other in combinations(sent, 2))
        assert len({one.name for one in sent}) == len(sent)


def test_the_weather_is_asked_for_most_but_not_most_often() -> None:
    rng = Random(1)
    first = [some_tools(rng)[0].tool is table().tools[0] for _ in range(1000)]
    assert 250 < sum(first) < 450


def test_what_needs_no_tool_is_answered_in_words() -> None:
    rng = Random(1)
    answers = [tool_chats.needs_none(rng, some_tools(rng))[1] for _ in range(500)]
    assert not any(answer.startswith("{") for answer in answers)
    assert 40 < sum(answer in REFUSALS for answer in answers) < 200


def test_a_question_may_mean_the_tool_whose_telling_words_it_has() -> None:
    assert may_mean("Do I need my umbrella today?", TOOLS["get_weather"])
    assert not may_mean("Do I need my umbrella today?", TOOLS["roll_dice"])


def test_a_value_at_the_end_has_nothing_behind_it_that_could_be_a_part_of_it() -> None:
    rng = Random(1)
    post = offered(rng, TOOLS["create_post"])
    for _ in range(500):
        said, arguments = tool_chats.wanted(rng, post)
        (text,) = arguments.values()
        rest = said.rpartition(text)[2].lower()
        assert re.fullmatch(r"(,? please| thanks| again| for me| right now)?[?!. ]*", rest)


def test_the_model_repeats_what_the_tool_has_answered() -> None:
    rng = Random(1)
    for _ in range(300):
        *_, result, answer = tool_chats.result_chat(rng, some_tools(rng)[0])
        content = result["content"]
        told = json.loads(content).values() if content.startswith("{") else [content]
        assert all(str(value) in answer["content"] for value in told)


def test_several_tools_are_offered_in_many_chats() -> None:
    rng = Random(1)
    offers = [len(made.tools) for made in (chat(rng) for _ in range(4000)) if made.tools]
    assert {1, 2, 3, 4} == set(offers)
    assert sum(count > 1 for count in offers) > len(offers) / 2
