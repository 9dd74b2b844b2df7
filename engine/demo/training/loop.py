"""The training loop: Muon for the matrices, AdamW for the rest, loss on the model's own turns alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import Gemma3nForCausalLM

from engine.demo.training.packing import Batch

STEPS = 5400
_REPORT_STEPS = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how fast, how hard. The rates rise, stay, and fall to nothing over the last part of the steps."""

    steps: int = STEPS
    muon_rate: float = 0.02
    adamw_rate: float = 4e-3
    weight_decay: float = 0.03
    hidden_words_share: float = 0.04
    attention_dropout: float = 0.1
    warmup_steps: int = 100
    falling_share: float = 0.5

    def scale(self, step: int) -> float:
        """Return the factor of the rates at a step."""
        left = (self.steps - step) / (self.steps * self.falling_share)
        return max(0.0, min(1.0, (step + 1) / self.warmup_steps, left))


def optimizers_of(model: Gemma3nForCausalLM, plan: Plan) -> list[torch.optim.Optimizer]:
    """Return the optimizers. What is frozen has none."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = [weight for name, weight in named if weight.dim() == 2 and min(weight.shape) > 8 and "embed" not in name]
    chosen = {id(weight) for weight in matrices}
    others = [weight for _, weight in named if id(weight) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=plan.muon_rate, weight_decay=plan.weight_decay, momentum=0.95),
        torch.optim.AdamW(others, lr=plan.adamw_rate, betas=(0.9, 0.97), weight_decay=0.0),
    ]


def loss_of(model: Gemma3nForCausalLM, body: Callable[..., torch.Tensor], batch: Batch) -> torch.Tensor:
    """Return the weighted mean loss of the tokens to be learnt. `body` is the model up to its last hidden states.

    A token counts the more, the less likely the model finds it (Lin et al., Focal Loss, 2017): most of an answer
    follows from its first words, and what is hard, the choice of the answer and what is copied, is few tokens.
    """
    hidden = body(batch.ids, batch.positions, batch.masks(model.config.sliding_window))
    next_learnt = batch.learnt[:, 1:]
    logits = model.lm_head(hidden[:, :-1][next_learnt])
    cap = model.config.final_logit_softcapping
    losses = cross_entropy(torch.tanh(logits / cap) * cap, batch.ids[:, 1:][next_learnt], reduction="none")
    weights = (1.02 - torch.exp(-losses.detach())).clamp(max=1.0)
    return (losses * weights).sum() / weights.sum()


def body_of(model: Gemma3nForCausalLM) -> Callable[..., torch.Tensor]:
    """Return the model up to its last hidden states; on a GPU compiled, its products in bfloat16."""
    gpu = model.device.type == "cuda"

    def body(ids: torch.Tensor, positions: torch.Tensor, masks: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=gpu):
            found = model.model(input_ids=ids, position_ids=positions, attention_mask=masks, use_cache=False)
        hidden: torch.Tensor = found.last_hidden_state.float()
        return hidden

    return torch.compile(body) if gpu else body


def train(model: Gemma3nForCausalLM, batches: Iterator[Batch], plan: Plan) -> None:
    """Train the model in place, on the device where it is. A line of progress goes to standard error now and then."""
    model.train()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = plan.attention_dropout
    body, optimizers = body_of(model), optimizers_of(model, plan)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    started, recent = time.monotonic(), torch.zeros((), device=model.device)
    for step in range(plan.steps):
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * plan.scale(step)
        batch = next(batches).to(model.device).with_words_hidden(plan.hidden_words_share)
        loss = loss_of(model, body, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        recent += loss.detach()  # It stays on the device: to read it would wait for it.
        if step % _REPORT_STEPS == _REPORT_STEPS - 1:
            seconds = round(time.monotonic() - started)
            print(f"step {step + 1} loss {recent.item() / _REPORT_STEPS:.4f} {seconds} s", file=sys.stderr, flush=True)
            recent.zero_()
    model.eval()  # type: ignore[no-untyped-call]
