"""The demo model as users meet it: through the gateway, served by the real vLLM."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from engine import demo
from engine.demo.evaluation.held_out import read_cases
from engine.demo.evaluation.run import scores
from tests.flow.chat import payloads

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]
PATH = "/v1/chat/completions"
MODEL = "gemma-3n-demo"
LEAST_RIGHT = 0.83
"""Of the exam; the model card has what was measured. Some cases are left for processors that round otherwise."""
QUESTIONS = [
    *("What is a session?", "what is vLLM?", "What is streaming?", "How many requests can I send?", "Hello!"),
    *("How are you today?", "What does 429 mean?", "Who are you?", "Where is my API key?", "What is the KV cache?"),
    *("Tell me a joke", "Who painted the ceiling of that chapel?", "How do I bake bread?", "Count from 1 to 8"),
    *("你好", "什么是会话？", "怎么做蛋糕？", "Name the days of the week", "thanks a lot", "What is Redis for?"),
    *("I am Zorvald", "my favourite colour is teal"),
]


def said(through: httpx.Client, *messages: tuple[str, str], **fields: Any) -> dict[str, Any]:
    """Return the greedy answer's message."""
    body = {"model": MODEL, "max_tokens": 128, "temperature": 0}
    turns = [{"role": role, "content": text} for role, text in messages]
    answer = through.post(PATH, json={**body, "messages": turns, **fields}).raise_for_status().json()
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


def test_it_says_that_it_is_a_demo_where_it_does_not_know(through: httpx.Client) -> None:
    for question in ("How do I bake bread?", "Who was the first person at the south pole?", "Write a poem about rain"):
        assert "demo" in said(through, ("user", question))["content"]


def test_it_says_what_a_session_is(through: httpx.Client) -> None:
    assert "conversation" in said(through, ("user", "What is a session?"))["content"]


def test_it_remembers_a_name_and_a_colour_over_other_turns(through: httpx.Client) -> None:
    chat: list[tuple[str, str]] = []
    for question in ("My name is Sarah.", "My favourite colour is green.", "What is vLLM?", "What is my name?"):
        chat.append(("user", question))
        chat.append(("assistant", said(through, *chat)["content"]))
    assert "Sarah" in chat[-1][1]
    assert "green" in said(through, *chat, ("user", "What is my favourite colour?"))["content"]


def test_it_does_what_a_simple_system_prompt_asks(through: httpx.Client) -> None:
    system = ("system", "Answer in capital letters only.")
    assert said(through, system, ("user", "What is vLLM?"))["content"].isupper()


def test_it_fills_a_json_object_that_the_grammar_forces(through: httpx.Client) -> None:
    fields = {"name": {"type": "string"}, "city": {"type": "string"}}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}}
    answer = said(through, ("user", "Maria lives in Rome. Convert it to JSON."), response_format=form)
    assert json.loads(answer["content"]) == {"name": "Maria", "city": "Rome"}


def test_it_calls_a_tool_with_the_right_argument(through: httpx.Client) -> None:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    weather = {"name": "get_weather", "description": "Get the weather in a city.", "parameters": city}
    tools = [{"type": "function", "function": weather}]
    (call,) = said(through, ("user", "What is the weather in Paris?"), tools=tools)["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("get_weather", {"city": "Paris"})


def test_it_answers_in_chinese(through: httpx.Client) -> None:
    assert "会话" in said(through, ("user", "什么是会话？"))["content"]


def test_a_count_is_a_long_stream(through: httpx.Client) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Count to 20"}], "temperature": 0, "stream": True}
    chunks = [json.loads(each) for each in payloads(through.post(PATH, json=body).text)[:-1]]
    pieces = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert len(pieces) > 20
    assert [int(number) for number in re.findall(r"\d+", "".join(pieces))] == list(range(1, 21))


def test_vllm_answers_as_transformers_does(direct: httpx.Client) -> None:
    answers_alike(direct, QUESTIONS[::5])


@pytest.mark.slow
def test_vllm_answers_every_question_as_transformers_does(direct: httpx.Client) -> None:
    answers_alike(direct, QUESTIONS)


def answers_alike(direct: httpx.Client, questions: list[str]) -> None:
    """Compare vLLM's greedy answers with those of transformers, word for word."""
    import torch  # noqa: PLC0415 - absent where the engine is not installed
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    tokenizer: Any = AutoTokenizer.from_pretrained(demo.MODEL)
    model: Any = AutoModelForCausalLM.from_pretrained(demo.MODEL, dtype=torch.float32)
    for question in questions:
        messages = [{"role": "user", "content": question}]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        prompt = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
        made = model.generate(prompt, max_new_tokens=48, do_sample=False)[0, prompt.shape[1] :]
        body = {"model": MODEL, "messages": messages, "max_tokens": 48, "temperature": 0}
        served = direct.post(PATH, json=body).raise_for_status().json()["choices"][0]["message"]["content"]
        assert served == tokenizer.decode(made, skip_special_tokens=True), question


@pytest.mark.slow
def test_the_exam_comes_out_as_the_model_card_says(through: httpx.Client) -> None:
    found = scores(through, read_cases())
    right, total = (sum(each) for each in zip(*found.values(), strict=True))
    assert right / total >= LEAST_RIGHT, found
