"""Chats in which the user says something about themselves and asks for it later. Most names are made up, so that the
model has to copy what was said and cannot know it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from engine.demo.training.grammar import draw, expand, made_up
from engine.demo.training.remembered import KINDS, WEIGHTS, WORDS
from engine.demo.training.wording import typed

_CHINESE = (
    (
        "[我叫|我的名字是|我是|你好，我叫|叫我]{x}",
        "很高兴认识你，{x}！",
        "[我叫什么名字|我叫什么|我是谁|你记得我的名字吗|你知道我是谁吗|我的名字是什么]",
        "你叫{x}。",
    ),
    (
        "[我住在|我家在|我来自|我在]{x}",
        "{x}是个好地方！",
        "[我住在哪里|我在哪个城市|我来自哪里|我家在哪里|你记得我住在哪里吗]",
        "你住在{x}。",
    ),
    (
        "[我最喜欢的颜色是|我喜欢的颜色是|我最爱]{x}",
        "我记住了，你喜欢{x}。",
        "[我最喜欢什么颜色|我喜欢的颜色是什么|我喜欢什么颜色|你记得我喜欢的颜色吗]",
        "你喜欢{x}。",
    ),
)


def person(rng: Random) -> str:
    """Return a first name, most often a made-up one."""
    if rng.random() < 0.4:
        return draw(rng, "name")
    name = made_up(rng, rng.choice((1, 2, 2, 3))).capitalize()
    return name if rng.random() < 0.93 else f"{name} {made_up(rng).capitalize()}"


def town(rng: Random) -> str:
    """Return a city, often a made-up one."""
    return draw(rng, "city") if rng.random() < 0.5 else made_up(rng, 2).capitalize()


def _thing(rng: Random, kind: str) -> str:
    if kind in ("name", "pet") or (kind in WORDS and WORDS[kind] == "name"):
        return person(rng)
    if kind == "city":
        return town(rng)
    if kind == "age":
        return str(rng.randint(5, 99))
    if kind == "number":
        return str(rng.randint(1, 999))
    if rng.random() < 0.3:
        return made_up(rng, 2)
    return draw(rng, WORDS.get(kind, kind))


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was said: its kind, the thing, and the words beside it."""

    kind: str
    x: str
    c: str
    a: str

    def fill(self, template: str) -> str:
        """Return the template with this fact in it; a sentence begins with a capital."""
        text = template.replace("{x}", self.x).replace("{c}", self.c).replace("{a}", self.a)
        return text[0].upper() + text[1:]


def new_fact(rng: Random, but: frozenset[str] = frozenset()) -> Fact:
    """Return something to tell, of a kind that is not in `but`."""
    kinds = [kind for kind in KINDS if kind not in but]
    (kind,) = rng.choices(kinds, [WEIGHTS[kind] for kind in kinds])
    thing = _thing(rng, kind)
    if kind in ("name", "city", "pet") and rng.random() < 0.12:
        thing = thing.lower()
    return Fact(kind, thing, rng.choice(("colour", "color")), draw(rng, "animal"))


def told(rng: Random, fact: Fact) -> tuple[str, str]:
    """Return what the user says and what the model answers."""
    template = rng.choice(KINDS[fact.kind].tell)
    keep = "\x00"
    said = typed(rng, template.replace("{c}", fact.c).replace("{a}", fact.a).replace("{x}", keep))
    return said.rstrip("?").replace(keep, fact.x), fact.fill(KINDS[fact.kind].reply)


def asked(rng: Random, fact: Fact) -> tuple[str, str]:
    """Return a question for the fact and its answer."""
    template = rng.choice(KINDS[fact.kind].ask).replace("{c}", fact.c).replace("{a}", fact.a)
    return typed(rng, template), fact.fill(KINDS[fact.kind].recall)


def asked_too_early(rng: Random, but: frozenset[str]) -> tuple[str, str]:
    """Return a question for something that was never said."""
    fact = new_fact(rng, but)
    return asked(rng, fact)[0], fact.fill(KINDS[fact.kind].never_told)


def told_together(rng: Random, first: Fact, second: Fact) -> tuple[str, str]:
    """Return two facts in one message. The answer is to the first."""
    said, answer = told(rng, first)
    joint = rng.choice((" and ", ", and ", ". ", ", "))
    return said.rstrip("?!. ") + joint + told(rng, second)[0], answer


def chinese_chat(rng: Random) -> list[tuple[str, str]]:
    """Return a chat in Chinese about a name, or another thing."""
    name = rng.choice("王李张刘陈杨赵黄周吴小阿大") + "".join(
        rng.sample("明华丽强芳军伟娜静磊洋勇艳杰涛超霞平刚雪梅龙", rng.choice((1, 1, 2)))
    )
    tell, reply, ask, recall = rng.choice(_CHINESE)
    thing = name
    if "地方" in reply:
        thing = rng.choice(
            [
                "北京",
                "上海",
                "广州",
                "成都",
                "西安",
                "南京",
                "杭州",
                "武汉",
                "重庆",
                "天津",
                "苏州",
                "深圳",
                "长沙",
                "青岛",
                "大连",
            ]
        )
    if "喜欢" in reply:
        thing = rng.choice(
            ["红色", "蓝色", "绿色", "黄色", "紫色", "黑色", "白色", "橙色", "粉色", "灰色", "棕色", "金色"]
        )
    end = rng.choice(("。", "", "！"))
    first = (expand(rng, tell.replace("{x}", thing)) + end, reply.replace("{x}", thing))
    return [first, (expand(rng, ask) + rng.choice(("？", "?", "")), recall.replace("{x}", thing))]
