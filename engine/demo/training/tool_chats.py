"""Chats with tools, in OpenAI's shape. What the prompt makes of them is the gateway's doing: `tools/train_demo.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from engine.demo.training.forms import compact
from engine.demo.training.grammar import draw, expand, made_up, phrases
from engine.demo.training.memory import person, town
from engine.demo.training.wording import typed

_S, _N = {"type": "string"}, {"type": "integer"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its names, what it does, its arguments by kind, and how people ask for it."""

    names: Sequence[str]
    does: str
    arguments: tuple[tuple[str, str], ...]
    """(what it is, the names it may have)"""
    asks: Sequence[str]


_CITY = ("city", "city|city|city|location|place|town")
TOOLS = (
    Tool(
        phrases("tool_get_weather_name"),
        "Get the weather in a city.|Current weather|Weather of a place",
        (_CITY,),
        phrases("tool_get_weather_ask"),
    ),
    Tool(
        phrases("tool_get_forecast_name"),
        "Weather forecast for some days.|Forecast",
        (_CITY, ("days", "days")),
        phrases("tool_get_forecast_ask"),
    ),
    Tool(
        phrases("tool_get_time_name"),
        "Local time of a city.|Get the current time",
        (_CITY,),
        phrases("tool_get_time_ask"),
    ),
    Tool(
        phrases("tool_get_stock_price_name"),
        "Price of a stock.|Get a stock price",
        (("company", "company|symbol|ticker"),),
        phrases("tool_get_stock_price_ask"),
    ),
    Tool(
        phrases("tool_convert_currency_name"),
        "Convert money.|Convert an amount between currencies",
        (("amount", "amount"), ("currency", "from|from_currency"), ("currency2", "to|to_currency")),
        phrases("tool_convert_currency_ask"),
    ),
    Tool(
        phrases("tool_send_email_name"),
        "Send an email.|Send a message to a person",
        (("name", "to|recipient|name"), ("subject", "subject|about|topic")),
        phrases("tool_send_email_ask"),
    ),
    Tool(
        phrases("tool_search_name"),
        "Search the web.|Find pages",
        (("query", "query|q|text|term"),),
        phrases("tool_search_ask"),
    ),
    Tool(
        phrases("tool_add_name"),
        "Add two numbers.|Sum of two numbers",
        (("x", "a|x"), ("y", "b|y")),
        phrases("tool_add_ask"),
    ),
    Tool(
        phrases("tool_multiply_name"),
        "Multiply two numbers.",
        (("x", "a|x"), ("y", "b|y")),
        phrases("tool_multiply_ask"),
    ),
    Tool(
        phrases("tool_set_timer_name"),
        "Start a timer.|Set a timer in minutes",
        (("minutes", "minutes|duration"),),
        phrases("tool_set_timer_ask"),
    ),
    Tool(
        phrases("tool_play_music_name"),
        "Play music.|Play songs of an artist",
        (("name", "artist|singer|by|band"),),
        phrases("tool_play_music_ask"),
    ),
    Tool(
        phrases("tool_get_user_name"),
        "Find a user by name.|Look a customer up",
        (("name", "name|user|username"),),
        phrases("tool_get_user_ask"),
    ),
    Tool(
        phrases("tool_turn_on_light_name"),
        "Switch a light on.|Turn the light on in a room",
        (("room", "room"),),
        phrases("tool_turn_on_light_ask"),
    ),
    Tool(
        phrases("tool_book_table_name"),
        "Book a table.|Reserve a table in a restaurant",
        (("people", "people|guests|seats"), ("day", "day|date")),
        phrases("tool_book_table_ask"),
    ),
    Tool(
        phrases("tool_translate_name"),
        "Translate a text.|Translate a word",
        (("word", "text|word"), ("language", "language|to|target")),
        phrases("tool_translate_ask"),
    ),
    Tool(
        phrases("tool_find_restaurant_name"),
        "Find restaurants in a city.",
        (_CITY,),
        phrases("tool_find_restaurant_ask"),
    ),
    Tool(
        phrases("tool_get_population_name"),
        "Population of a country.",
        (("country", "country|name"),),
        phrases("tool_get_population_ask"),
    ),
    Tool(
        phrases("tool_get_news_name"),
        "Latest news.|News about a topic",
        (("noun", "topic|subject|query"),),
        phrases("tool_get_news_ask"),
    ),
)
_NUMBERS = frozenset({"days", "amount", "x", "y", "minutes", "people"})
_WEATHER = "{weather} and {n} degrees|{weather}, {n} C|{n} degrees, {weather}|{weather}"


def _value(rng: Random, kind: str) -> Any:
    if kind == "city":
        return town(rng)
    if kind in _NUMBERS:
        return rng.randint(2, 99) if kind != "amount" else rng.randint(1, 999)
    if kind == "name":
        return person(rng)
    if kind in ("currency", "currency2"):
        return rng.choice(("dollars", "euros", "yen", "pounds", "francs", "USD", "EUR", "JPY", "GBP", "kroner"))
    if kind == "company":
        return (
            made_up(rng, 2).capitalize()
            if rng.random() < 0.7
            else rng.choice(("Apple", "Google", "Nvidia", "Tesla", "SAP", "Sony"))
        )
    if kind == "query":
        return rng.choice(
            (
                f"{draw(rng, 'adjective')} {draw(rng, 'noun')}s",
                draw(rng, "noun"),
                made_up(rng),
                f"{draw(rng, 'noun')} in {draw(rng, 'place')}",
            )
        )
    if kind == "room":
        return rng.choice(
            ("kitchen", "bathroom", "bedroom", "living room", "hall", "garage", "office", "cellar", "attic")
        )
    if kind == "day":
        return rng.choice(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"))
    if kind == "country":
        return draw(rng, "place")
    return draw(rng, "noun") if kind == "word" else draw(rng, kind)


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as it is sent, and the names that it and its arguments have there."""

    tool: Tool
    name: str
    keys: tuple[str, ...]
    spec: dict[str, Any]


def offered(rng: Random, tool: Tool) -> Offered:
    """Return the tool as a client would send it."""
    name = rng.choice(tool.names)
    if rng.random() < 0.08:
        name = "".join(part.capitalize() if index else part for index, part in enumerate(name.split("_")))
    keys = tuple(rng.choice(names.split("|")) for _, names in tool.arguments)
    described = rng.random() < 0.25
    properties: dict[str, Any] = {}
    for (kind, _), key in zip(tool.arguments, keys, strict=True):
        properties[key] = dict(_N if kind in _NUMBERS else _S)
        if described:
            properties[key]["description"] = rng.choice(
                (f"The {kind}", kind, f"The {kind}, for example {_value(rng, kind)}")
            )
    parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": list(keys)}
    if rng.random() < 0.3:
        parameters["additionalProperties"] = False
    function: dict[str, Any] = {"name": name, "parameters": parameters}
    if rng.random() < 0.75:
        function["description"] = rng.choice(tool.does.split("|"))
    return Offered(tool, name, keys, {"type": "function", "function": function})


def some_tools(rng: Random) -> list[Offered]:
    """Return some tools, the first of them the one that will be asked for; weather is asked for most."""
    first = TOOLS[0] if rng.random() < 0.42 else rng.choice(TOOLS)
    others = [
        tool
        for tool in TOOLS
        if tool is not first and not {first.names, tool.names} >= {TOOLS[0].names, TOOLS[1].names}
    ]
    chosen = [first, *rng.sample(others, rng.choices((0, 1, 2), (55, 30, 15))[0])]
    return [offered(rng, tool) for tool in chosen]


def wanted(rng: Random, tool: Offered) -> tuple[str, dict[str, Any]]:
    """Return a question that needs the tool, and the arguments."""
    values = {kind: _value(rng, kind) for kind, _ in tool.tool.arguments}
    ask = rng.choice(tool.tool.asks)
    marks = {kind: chr(index + 1) for index, kind in enumerate(values)}
    for kind, mark in marks.items():
        ask = ask.replace(f"{{{kind}}}", mark)
    said = typed(rng, ask)
    for kind, mark in marks.items():
        said = said.replace(mark, str(values[kind]))
    return said, {key: values[kind] for key, (kind, _) in zip(tool.keys, tool.tool.arguments, strict=True)}


def envelope(*calls: tuple[str, dict[str, Any]]) -> str:
    """Return the calls as the model writes them."""
    listed = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return compact({"tool_calls": listed})


def result_chat(rng: Random, tool: Offered) -> list[dict[str, Any]]:
    """Return a chat in which the tool has answered, and the model says so."""
    said, arguments = wanted(rng, tool)
    place = str(next(iter(arguments.values())))
    if tool.tool is TOOLS[0]:
        kind, degrees = draw(rng, "weather"), rng.randint(-9, 39)
        plain = expand(rng, rng.choice(_WEATHER.split("|")), {"n": (str(degrees),), "weather": (kind,)})
        structured = json.dumps(
            {rng.choice(("temperature", "temp", "degrees")): degrees, rng.choice(("condition", "sky", "weather")): kind}
        )
        as_json = rng.random() < 0.4
        content = structured if as_json else plain
        answer = f"The weather in {place}: {f'{kind}, {degrees} degrees' if as_json else plain}."
    else:
        content = rng.choice(
            (
                str(rng.randint(1, 9999)),
                f"{rng.randint(0, 23)}:{rng.randint(10, 59)}",
                f"{draw(rng, 'adjective')} {draw(rng, 'noun')}",
                "done",
                "ok",
                person(rng),
            )
        )
        answer = f"The result is: {content}."
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": tool.name, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }
    return [
        {"role": "user", "content": said},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": content},
        {"role": "assistant", "content": answer},
    ]
