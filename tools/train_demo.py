"""`make demo-model`: train the demo model anew and put it in its place. It takes a GPU some ten minutes.

Without a GPU it runs too, but that many steps would take days; `--steps` makes fewer of them.

Chats with tools are learnt exactly as the gateway writes them into the prompt, so this script, which may know both,
hands the gateway's rendering to the training.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import jinja2
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from engine.demo import MODEL
from engine.demo.training.architecture import untrained
from engine.demo.training.chats import Chat
from engine.demo.training.checkpoint import TEMPLATE, write_checkpoint
from engine.demo.training.encode import encoded
from engine.demo.training.exam import fresh_chats, said_in_the_exam
from engine.demo.training.loop import STEPS, Plan, train
from engine.demo.training.packing import Batch, packed
from engine.demo.training.vocabulary import trained_tokenizer
from gateway.prompt.control_tokens import harmless
from gateway.prompt.normalise import normalised
from gateway.prompt.tool_history import render_history
from gateway.prompt.tools import tool_plan, with_tools

_ROWS, _ROW_TOKENS = 64, 512
_TOKENIZER_CHATS = 20_000
_CONTROL_TOKEN = re.compile(r"<[a-z_]+>")


def main() -> int:
    """Train, write the checkpoint, return 0."""
    parser = argparse.ArgumentParser(prog="train_demo", description="Train the demo model.")
    parser.add_argument("--steps", type=int, default=STEPS, help="how long to train (%(default)s)")
    parser.add_argument("--rows", type=int, default=_ROWS, help=f"rows of {_ROW_TOKENS} tokens in a step (%(default)s)")
    parser.add_argument("--out", type=Path, default=MODEL, help="the folder to write (%(default)s)")
    options = parser.parse_args()
    render = renderer()
    chats = islice(fresh_chats(Random(7), said_in_the_exam()), _TOKENIZER_CHATS)
    tokenizer = trained_tokenizer(_CONTROL_TOKEN.sub("\n", render(chat)) for chat in chats)
    model = untrained()
    if torch.cuda.is_available():
        torch.nn.Module.cuda(model)
    torch.set_float32_matmul_precision("high")
    makers = max(1, (os.cpu_count() or 1) - 2)
    made = DataLoader(MadeBatches(tokenizer, options.rows), batch_size=None, num_workers=makers, prefetch_factor=8)
    train(model, iter(made), Plan(options.steps))
    write_checkpoint(options.out, model.cpu(), tokenizer)
    return 0


class MadeBatches(IterableDataset[Batch]):
    """Batches without end. Each of the loader's workers makes chats of its own, the same each time."""

    def __init__(self, tokenizer: Tokenizer, rows: int) -> None:
        """Keep what a worker needs; it is copied there."""
        self._tokenizer, self._rows = tokenizer, rows

    def __iter__(self) -> Iterator[Batch]:
        """Return the batches of the worker that asks."""
        worker = get_worker_info()
        chats = fresh_chats(Random(11 + (worker.id if worker else 0)), said_in_the_exam())
        render = renderer()
        return packed((encoded(self._tokenizer, render, chat) for chat in chats), self._rows, _ROW_TOKENS)


def renderer() -> Callable[[Chat], str]:
    """Return what writes a chat as the engine's prompt has it, by the gateway's own code and Gemma's template."""
    # As transformers compiles it.
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - no HTML
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))

    def render(chat: Chat) -> str:
        messages = tuple(render_history(list(chat.messages)))
        plan = tool_plan({"tools": list(chat.tools)})
        if plan is not None:
            messages = with_tools(messages, plan.text)
        said = harmless(normalised(messages))
        return template.render(messages=said, bos_token="<bos>", add_generation_prompt=False)

    return render


if __name__ == "__main__":
    sys.exit(main())
