"""The chats that the demo model is trained on: apart from the exam, repeatable, and true to what they claim."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from engine.demo.evaluation.held_out import read_cases
from engine.demo.training import chats, memory
from engine.demo.training.chats import Chat, chat
from engine.demo.training.exam import fresh_chats, runs_of_five, said_in_the_exam
from engine.demo.training.grammar import expand, phrases, words
from engine.demo.training.topics import REFUSALS, topics, unknown


def some(count: int, seed: int = 1) -> list[Chat]:
    return list(islice(fresh_chats(Random(seed), said_in_the_exam()), count))


def test_no_run_of_five_words_of_the_exam_is_said_in_the_training() -> None:
    forbidden = said_in_the_exam()
    said = [str(message.get("content")) for made in some(4000) for message in made.messages]
    assert len(forbidden) > 100
    assert [text for text in said if forbidden.intersection(runs_of_five(text))] == []


def test_a_chat_that_repeats_the_exam_is_left_out() -> None:
    case = next(case for case in read_cases() if len(case.messages[-1]["content"].split()) >= 5)
    assert said_in_the_exam().issuperset(runs_of_five(case.messages[-1]["content"]))
    first = chat(Random(1))
    its_runs = frozenset(run for message in first.messages for run in runs_of_five(str(message["content"])))
    assert next(fresh_chats(Random(1), its_runs)) != first


def test_the_same_seed_gives_the_same_chats() -> None:
    assert some(200) == some(200) != some(200, seed=2)


def test_users_and_answers_take_turns_and_answers_come_last() -> None:
    for made in some(2000):
        roles = [message["role"] for message in made.messages if message["role"] != "system"]
        assert roles[::2].count("assistant") == 0
        assert set(roles[1::2]) == {"assistant"}
        assert len(roles) % 2 == 0


@pytest.mark.parametrize("name", ["facts.txt", "small_talk.txt"])
def test_every_topic_has_all_its_answers_and_a_way_to_ask(name: str) -> None:
    for topic in topics(name):
        assert topic.answer, topic.name
        assert topic.short, topic.name
        assert topic.word, topic.name
        assert len(topic.word.split()) == 1
        assert topic.question(Random(1))


def test_no_question_leads_to_two_topics() -> None:
    rng = Random(3)
    topic_of: dict[str, str] = {}
    clashes: set[tuple[str, str, str]] = set()
    for topic in topics("facts.txt"):
        for kind, ways in (("noun", topic.nouns), ("action", topic.actions), ("question", topic.questions)):
            for way in (each for each in ways for _ in range(20)):
                asked = f"{kind}: {expand(rng, way).lower().strip(' ?')}"
                first = topic_of.setdefault(asked, topic.name)
                if first != topic.name:
                    clashes.add((asked, first, topic.name))
    assert clashes == set()


def test_what_is_not_known_is_answered_with_the_word_demo() -> None:
    rng = Random(1)
    answers = {unknown(rng).answer for _ in range(400)}
    assert answers == set(REFUSALS)
    assert all("demo" in answer for answer in REFUSALS)


def test_what_is_remembered_was_said() -> None:
    rng = Random(1)
    for _ in range(300):
        fact = memory.new_fact(rng)
        assert fact.thing.lower() in memory.told(rng, fact)[0].lower()
        assert fact.thing.lower() in memory.asked(rng, fact)[1].lower()


def test_who_is_asked_for_one_word_says_one_word() -> None:
    rng, asks = Random(1), phrases("style_word")
    made = [each for each in (chats._styled(rng) for _ in range(4000)) if each.messages[0]["content"] in asks]
    answers = [message["content"] for each in made for message in each.messages if message["role"] == "assistant"]
    assert len(answers) > 300
    assert [answer for answer in answers if len(answer.split()) != 1] == []


def test_a_template_is_expanded_by_choice_and_list() -> None:
    assert {expand(Random(seed), "[a|b] [|{colour}]?") for seed in range(50)} > {"a?", "b?"}
    assert expand(Random(1), "x {colour}").split()[1] in words()["colour"]
