"""What the demo model knows and does not know: questions with answers, in the forms that system prompts ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from random import Random

from engine.demo.training.grammar import expand, lines_of, phrases, top_level
from engine.demo.training.wording import reworded, typed

CONCEPT_FORMS = phrases("topic_concept_forms")
ACTION_FORMS = phrases("topic_action_forms")
UNKNOWN_NOUNS = phrases("topic_unknown_nouns")
UNKNOWN_VERBS = phrases("topic_unknown_verbs")
REFUSALS = (
    "Sorry, I am only a small demo model and I do not know that.",
    "I am just a demo model, so I cannot help with that.",
    "That is too much for a tiny demo model like me, sorry.",
    "I do not know that: I am only the demo model of this gateway.",
)
SHORT_REFUSAL = "Sorry, I am only a demo model."
WORD_REFUSAL = "Demo"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer; `short` and `word` are for system prompts that want it so."""

    question: str
    answer: str
    short: str
    word: str


@dataclass(slots=True)
class Topic:
    """One thing to know, and the ways to ask for it."""

    name: str
    answer: str = ""
    short: str = ""
    word: str = ""
    nouns: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """How often it comes up: what can be asked in more ways is what more people ask for."""
        return len(self.nouns) + len(self.actions) + len(self.questions)

    def question(self, rng: Random) -> str:
        """Return one way to ask, in plain words."""
        ways = [(self.nouns, 2.0), (self.actions, 2.5), (self.questions, 1.0 + 0.35 * len(self.questions))]
        kinds = [way for way in ways if way[0]]
        (listed, _), *_ = rng.choices(kinds, [weight for _, weight in kinds])
        sentence = expand(rng, rng.choice(listed))
        if listed is self.nouns:
            return rng.choice(CONCEPT_FORMS).replace("N", sentence)
        return rng.choice(ACTION_FORMS).replace("V", sentence) if listed is self.actions else sentence


@cache
def topics(name: str) -> tuple[Topic, ...]:
    """Return the topics of a data file."""
    found: list[Topic] = []
    for line in lines_of(name):
        key, text = line.split(" ", 1)
        if key == "=":
            found.append(Topic(text))
        elif key == "A:":
            found[-1].answer = text
        elif key == "S:":
            found[-1].short = text
        elif key == "W:":
            found[-1].word = text
        else:
            {"N:": found[-1].nouns, "V:": found[-1].actions, "Q:": found[-1].questions}[key] += top_level(text)
    return tuple(found)


@cache
def _rising_weights(name: str) -> tuple[int, ...]:
    return tuple(accumulate(topic.weight for topic in topics(name)))


def known(rng: Random, name: str) -> Exchange:
    """Return an exchange of a data file."""
    (topic,) = rng.choices(topics(name), cum_weights=_rising_weights(name))
    return Exchange(typed(rng, reworded(rng, topic.question(rng))), topic.answer, topic.short, topic.word)


def unknown(rng: Random) -> Exchange:
    """Return a question that a demo model does not answer."""
    kind = rng.random()
    if kind < 0.25:
        sentence = rng.choice(CONCEPT_FORMS).replace("N", expand(rng, rng.choice(UNKNOWN_NOUNS)))
    elif kind < 0.42:
        sentence = rng.choice(ACTION_FORMS).replace("V", expand(rng, rng.choice(UNKNOWN_VERBS)))
    else:
        sentence = expand(rng, rng.choice(lines_of("unknown.txt")))
    return Exchange(typed(rng, reworded(rng, sentence)), refusal(sentence), SHORT_REFUSAL, WORD_REFUSAL)


def refusal(sentence: str) -> str:
    """Return how to refuse. The kind of question decides, so that there is nothing to guess."""
    first = sentence.split(" ", 1)[0]
    if first in ("who", "what", "when", "where", "which", "why", "whats"):
        return REFUSALS[0]
    if first in ("how", "can", "could", "should", "help", "i"):
        return REFUSALS[1]
    return REFUSALS[2] if first in ("write", "tell", "give", "explain", "translate", "describe") else REFUSALS[3]


def chinese(rng: Random) -> Exchange:
    """Return a question in Chinese with its answer, or one that is not known."""
    pairs = lines_of("chinese.txt")
    if rng.random() < 0.68:
        index = 2 * rng.randrange(len(pairs) // 2)
        question, answer = rng.choice(pairs[index][3:].split("|")), pairs[index + 1][3:]
        if rng.random() < 0.15:
            question = (
                rng.choice(("请问，", "你好，", "请问", "那么，", "我想知道，", "请告诉我，", "好的，")) + question
            )
    else:
        *templates, listed = lines_of("chinese_unknown.txt")
        lists = {"zh": listed.removeprefix("= ").split("|"), "num": (*"一二三四五六七八九十", "12", "37", "100")}
        question = expand(rng, rng.choice(templates), lists).removesuffix("？")
        answer = "抱歉，我只是一个演示模型，不知道这个。"
    end = rng.choice(("？", "？", "?", "", "。", "")) if question[-1] not in "。！" else ""
    return Exchange(question + end, answer, answer, answer)
