"""OpenAI's Agents SDK, which asks for responses: an agent calls its function and answers with what that gave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, function_tool

from tests.fakes.gateway import GatewayProcess
from tests.fakes.process import EngineProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLED = '{"tool_calls":[{"name":"get_weather","arguments":{"city":"Rome"}}]}'
RESULT = '{"tool_result":{"call":1,"name":"get_weather","content":"sunny in Rome"}}'
UNTRACED = RunConfig(tracing_disabled=True)


@function_tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


@pytest_asyncio.fixture(loop_scope="module")
async def agent(gateway: GatewayProcess, engine: EngineProcess) -> AsyncIterator[Agent]:
    """An agent whose model calls its function first."""
    await engine.script("say", text=CALLED)
    async with openai.AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key=gateway.key, max_retries=0) as client:
        model = OpenAIResponsesModel("fake", client)
        yield Agent(name="weather", instructions="Be brief.", model=model, tools=[get_weather])


async def test_an_agent_calls_its_function_and_answers(agent: Agent, engine: EngineProcess) -> None:
    run = await Runner.run(agent, "Weather in Rome?", run_config=UNTRACED)
    assert run.final_output == f"You said: {RESULT}"
    contents = [each["content"] for each in json.loads((await engine.asked())[-1]["body"])["messages"]]
    assert contents[0].startswith("Be brief.")
    assert contents[1:3] == ["Weather in Rome?", CALLED]


async def test_an_agent_streams(agent: Agent) -> None:
    run = Runner.run_streamed(agent, "Weather in Rome?", run_config=UNTRACED)
    kinds = [event.data.type async for event in run.stream_events() if event.type == "raw_response_event"]
    assert run.final_output == f"You said: {RESULT}"
    assert kinds.count("response.completed") == 2


async def test_an_agent_goes_on_from_its_items_or_from_a_response(agent: Agent, engine: EngineProcess) -> None:
    run = await Runner.run(agent, "Weather in Rome?", run_config=UNTRACED)
    by_items = await Runner.run(
        agent, [*run.to_input_list(), {"role": "user", "content": "thanks"}], run_config=UNTRACED
    )
    sent = json.loads((await engine.asked())[-1]["body"])["messages"]
    by_id = await Runner.run(agent, "thanks", previous_response_id=run.last_response_id, run_config=UNTRACED)
    assert by_id.final_output == by_items.final_output == "You said: thanks"
    assert json.loads((await engine.asked())[-1]["body"])["messages"] == sent
