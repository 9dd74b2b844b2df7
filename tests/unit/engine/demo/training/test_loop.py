"""The training loop: it learns, and its rates rise and fall as planned."""

from __future__ import annotations

from itertools import repeat

import pytest

pytestmark = pytest.mark.engine


def test_the_loss_falls_and_the_token_part_stays_zero() -> None:
    import torch  # noqa: PLC0415 - absent where the engine is not installed

    from engine.demo.training.architecture import untrained  # noqa: PLC0415
    from engine.demo.training.encode import Sample  # noqa: PLC0415
    from engine.demo.training.loop import Plan, body_of, loss_of, train  # noqa: PLC0415
    from engine.demo.training.packing import packed  # noqa: PLC0415

    sample = Sample([50, 60, 70, 80, 90, 100, 110, 5], [False] * 4 + [True] * 4)
    batch = next(packed(repeat(sample), rows=2, row_tokens=32))
    model = untrained()

    def loss() -> float:
        with torch.no_grad():
            return loss_of(model, body_of(model), batch).item()

    before = loss()
    train(model, repeat(batch), Plan(steps=12, warmup_steps=2))
    assert loss() < before / 2
    assert not model.model.embed_tokens_per_layer.weight.any()


def test_the_rates_rise_stay_and_fall_to_nothing() -> None:
    from engine.demo.training.loop import Plan  # noqa: PLC0415

    plan = Plan(steps=100, warmup_steps=10, falling_share=0.5)
    assert [plan.scale(step) for step in (0, 4, 9, 50, 75, 99)] == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.02])
