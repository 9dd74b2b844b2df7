"""Rows of chats: nothing is lost, and a chat sees itself alone."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engine.demo.training.encode import Sample

pytestmark = pytest.mark.engine  # torch comes with the engine, hence the imports in the tests.


def _sample(first: int, length: int) -> Sample:
    from engine.demo.training.encode import Sample  # noqa: PLC0415

    return Sample([first + 10] * length, [place % 2 == 1 for place in range(length)])


def test_every_chat_stands_whole_in_a_row_and_what_is_to_be_learnt_beside_it() -> None:
    from engine.demo.training.packing import packed  # noqa: PLC0415

    samples = [_sample(number, 1 + number % 13) for number in range(400)]
    made = list(islice(packed(cycle(samples), rows=4, row_tokens=32), 3))
    found: list[int] = []
    for batch in made:
        assert batch.ids.shape == batch.learnt.shape == batch.chats.shape == batch.positions.shape == (4, 32)
        for row in range(4):
            for chat in range(1, int(batch.chats[row].max()) + 1):
                there = batch.chats[row] == chat
                (number,) = {int(token) - 10 for token in batch.ids[row][there]}
                assert batch.positions[row][there].tolist() == list(range(1 + number % 13))
                assert batch.learnt[row][there].tolist() == samples[number].learnt
                found.append(number)
        assert not batch.learnt[batch.chats == 0].any()
    assert len(found) == len(set(found))
    assert set(range(max(found) - 64)) <= set(found)  # Those that fitted nowhere came first in the next batch.


def test_a_chat_longer_than_a_row_is_left_out() -> None:
    from engine.demo.training.packing import packed  # noqa: PLC0415

    for batch in islice(packed(cycle([_sample(1, 33), _sample(2, 30)]), rows=2, row_tokens=32), 100):
        assert set(batch.ids[batch.chats > 0].tolist()) == {12}
        assert (batch.chats[:, :30] == 1).all()  # Nor does it take the place of another in the next batches.


def test_a_token_sees_what_stands_before_it_in_its_chat_and_no_further_than_the_window() -> None:
    from engine.demo.training.packing import packed  # noqa: PLC0415

    (batch,) = islice(packed(cycle([_sample(1, 5), _sample(2, 3)]), rows=1, row_tokens=8), 1)
    masks = batch.masks(window=2)
    full, near = masks["full_attention"][0, 0], masks["sliding_attention"][0, 0]
    assert full[4].tolist() == [True] * 5 + [False] * 3
    assert full[6].tolist() == [False] * 5 + [True, True, False]
    assert near[4].tolist() == [False] * 3 + [True, True] + [False] * 3


def test_the_loss_of_packed_chats_is_that_of_each_alone() -> None:
    """What a chat says must not depend on its neighbours in the row."""
    import torch  # noqa: PLC0415

    from engine.demo.training.architecture import untrained  # noqa: PLC0415
    from engine.demo.training.loop import body_of  # noqa: PLC0415
    from engine.demo.training.packing import packed  # noqa: PLC0415

    model = untrained()
    body = body_of(model)
    together = next(packed(cycle([_sample(1, 9), _sample(2, 7)]), rows=1, row_tokens=16))
    alone = next(packed(cycle([_sample(2, 7)]), rows=1, row_tokens=16))
    with torch.no_grad():
        behind = body(together.ids, together.positions, together.masks(256))[together.chats == 2]
        first = body(alone.ids, alone.positions, alone.masks(256))[alone.chats == 1]
    assert torch.allclose(behind, first, atol=1e-5)


def test_words_are_hidden_where_nothing_is_to_be_learnt() -> None:
    from engine.demo.training.architecture import UNK  # noqa: PLC0415
    from engine.demo.training.packing import packed  # noqa: PLC0415

    batch = next(packed(cycle([_sample(number, 16) for number in range(8)]), rows=8, row_tokens=128))
    hidden = batch.with_words_hidden(0.25)
    changed = hidden.ids != batch.ids
    assert set(hidden.ids[changed].tolist()) == {UNK}
    assert not (changed & batch.learnt).any()
    assert 0.15 < changed.sum() / (~batch.learnt).sum() < 0.35  # 512 draws: five standard deviations.
