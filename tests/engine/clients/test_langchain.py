"""LangChain's ChatOpenAI against the real engine."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from tests.fakes.stack import ServeProcess

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

QUESTION = "What is a session?"


class Weather(BaseModel):
    """The weather of a city. The demo model has random weights: what had no bound here, it would write for ever."""

    city: Literal["Rome", "Oslo"]
    unit: Literal["C", "F"]


def model_of(served: ServeProcess, **options: Any) -> ChatOpenAI:
    """Return a model as the README shows it; `options` add to it or replace."""
    given: dict[str, Any] = {"api_key": SecretStr(served.key), "max_tokens": 10, "temperature": 0, **options}
    return ChatOpenAI(model="gemma-3n-demo", base_url=f"{served.base_url}/v1", **given)


def total(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    """Return the chunks added up, as LangChain does."""
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def test_invoke_has_text_usage_and_the_models_name(served: ServeProcess) -> None:
    answer = model_of(served).invoke([SystemMessage("Be brief."), HumanMessage(QUESTION)])
    assert answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 10
    assert answer.response_metadata["model_name"] == "gemma-3n-demo"
    assert answer.response_metadata["finish_reason"] == "length"


def test_a_stream_without_usage_says_what_invoke_says(served: ServeProcess) -> None:
    chunks = list(model_of(served).stream(QUESTION))
    assert len(chunks) > 3
    assert total(chunks).text == model_of(served).invoke(QUESTION).text
    assert total(chunks).usage_metadata is None


def test_usage_summed_over_a_stream_is_that_of_the_whole_answer(served: ServeProcess) -> None:
    chunks = list(model_of(served, stream_usage=True).stream(QUESTION))
    whole = model_of(served).invoke(QUESTION)
    summed = total(chunks).usage_metadata
    assert summed is not None
    assert whole.usage_metadata is not None
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert summed[name] == whole.usage_metadata[name]


async def test_astream_and_ainvoke_say_the_same(served: ServeProcess) -> None:
    chunks = [chunk async for chunk in model_of(served, stream_usage=True).astream(QUESTION)]
    whole = await model_of(served).ainvoke(QUESTION)
    assert total(chunks).text == whole.text
    summed = total(chunks).usage_metadata
    assert summed is not None
    assert summed["output_tokens"] == 10


def test_a_batch_answers_each_question(served: ServeProcess) -> None:
    questions = [f"What is {number}?" for number in range(4)]
    answers = model_of(served).batch(questions)  # type: ignore[arg-type]
    assert len(answers) == 4
    assert all(answer.text for answer in answers)


def test_an_api_key_may_be_a_function_that_is_asked_each_time(served: ServeProcess) -> None:
    asked: list[str] = []

    def key() -> str:
        asked.append("key")
        return served.key

    model = model_of(served, api_key=key)
    model.invoke(QUESTION)
    model.invoke(QUESTION)
    assert len(asked) >= 2


def test_our_headers_are_shown_where_they_are_asked_for(served: ServeProcess) -> None:
    answer = model_of(served, include_response_headers=True).invoke(QUESTION)
    assert answer.response_metadata["headers"]["x-request-id"].startswith("req_")


def test_a_bound_tool_that_must_be_called_is_called_with_arguments_that_fit(served: ServeProcess) -> None:
    bound = model_of(served, max_tokens=128).bind_tools(
        [Weather], tool_choice="any", strict=True, parallel_tool_calls=False
    )
    whole = bound.invoke("What is the weather in Rome?")
    (call,) = whole.tool_calls
    assert call["name"] == "Weather"
    assert Weather.model_validate(call["args"])
    chunks = [chunk for chunk in bound.stream("What is the weather in Rome?") if isinstance(chunk, AIMessageChunk)]
    (streamed,) = total(chunks).tool_calls
    assert (streamed["name"], streamed["args"]) == (call["name"], call["args"])


def test_a_tools_result_goes_back_into_the_conversation(served: ServeProcess) -> None:
    call: Any = {"name": "Weather", "args": {"city": "Rome", "unit": "C"}, "id": "call_1", "type": "tool_call"}
    history = [HumanMessage("And in Rome?"), AIMessage("", tool_calls=[call]), ToolMessage("21", tool_call_id="call_1")]
    assert model_of(served).bind_tools([Weather], tool_choice="none").invoke(history).text


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_an_instance_of_the_model_asked_for(served: ServeProcess, method: Any) -> None:
    structured = model_of(served, max_tokens=128).with_structured_output(Weather, method=method)
    assert isinstance(structured.invoke("What is the weather in Rome?"), Weather)


def test_the_responses_api_says_what_chat_completions_say_whole_and_streamed(served: ServeProcess) -> None:
    chat = model_of(served).invoke(QUESTION)
    responses = model_of(served, use_responses_api=True)
    whole = responses.invoke(QUESTION)
    assert whole.text == chat.text
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 10
    assert total(list(responses.stream(QUESTION))).text == chat.text


def test_langchain_goes_on_from_a_response(served: ServeProcess) -> None:
    model = model_of(served, use_responses_api=True, use_previous_response_id=True)
    first = model.invoke("My name is Ada.")
    asked = [HumanMessage("My name is Ada."), first, HumanMessage("What is my name?")]
    assert "Ada" in model_of(served, max_tokens=40).invoke(asked).text
    assert "Ada" in model.bind(max_output_tokens=40).invoke(asked).text
