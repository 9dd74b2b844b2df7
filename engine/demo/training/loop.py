"""The training loop: Muon for the matrices, AdamW for the rest, loss on the model's own turns alone."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import Gemma3nForCausalLM

from engine.demo.training.architecture import PAD
from engine.demo.training.encode import Sample

STEPS = 7000
_REPORT_STEPS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast. The rates rise, stay, and fall to nothing over the last part of the steps."""

    steps: int = STEPS
    batch_tokens: int = 2048
    muon_rate: float = 0.02
    adamw_rate: float = 4e-3
    warmup_steps: int = 30
    falling_share: float = 0.45

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
        torch.optim.Muon(matrices, lr=plan.muon_rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=plan.adamw_rate, betas=(0.9, 0.97), weight_decay=0.0),
    ]


def loss_of(model: Gemma3nForCausalLM, batch: list[Sample]) -> torch.Tensor:
    """Return the mean loss of the tokens to be learnt. Padding is behind everything, where nothing looks.

    A token counts the more, the less likely the model finds it (Lin et al., Focal Loss, 2017): most of an answer
    follows from its first words, and what is hard, the choice of the answer and what is copied, is few tokens.
    """
    longest = max(len(sample.ids) for sample in batch)
    ids = torch.tensor([sample.ids + [PAD] * (longest - len(sample.ids)) for sample in batch])
    learnt = torch.tensor([sample.learnt + [False] * (longest - len(sample.ids)) for sample in batch])
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][learnt[:, 1:]])
    cap = model.config.final_logit_softcapping
    losses = cross_entropy(torch.tanh(logits / cap) * cap, ids[:, 1:][learnt[:, 1:]], reduction="none")
    weights = (1.02 - torch.exp(-losses.detach())).clamp(max=1.0)
    return (losses * weights).sum() / weights.sum()


def train(
    model: Gemma3nForCausalLM, batches: Iterator[list[Sample]], plan: Plan, on_step: Callable[[int], None] | None = None
) -> None:
    """Train the model in place, together with the other workers of the process group if there is one.

    A line of progress goes to standard error now and then.
    """
    model.train()
    optimizers = optimizers_of(model, plan)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    started, losses = time.monotonic(), []
    for step in range(plan.steps):
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * plan.scale(step)
        loss = loss_of(model, next(batches))
        loss.backward()  # type: ignore[no-untyped-call]
        _share_gradients(weights)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step % _REPORT_STEPS == 0:
            recent = losses[-_REPORT_STEPS:]
            seconds = round(time.monotonic() - started)
            print(f"step {step} loss {math.fsum(recent) / len(recent):.4f} {seconds} s", file=sys.stderr, flush=True)
        if on_step is not None:
            on_step(step)
    model.eval()  # type: ignore[no-untyped-call]


def _share_gradients(weights: list[torch.nn.Parameter]) -> None:
    """Give every worker the mean of all workers' gradients."""
    if not torch.distributed.is_initialized():
        return
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    means = flat.split([weight.numel() for weight in weights])  # type: ignore[no-untyped-call]
    for weight, mean in zip(weights, means, strict=True):
        weight.grad = mean.view_as(weight)
