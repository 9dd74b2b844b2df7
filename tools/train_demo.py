"""`make demo-model`: train the demo model anew and put it in its place. It takes two cores for about two hours.

Chats with tools are learnt exactly as the gateway writes them into the prompt, so this script, which may know both,
hands the gateway's rendering to the training.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import jinja2
import torch
from tokenizers import Tokenizer

from engine.demo import MODEL
from engine.demo.training.architecture import untrained
from engine.demo.training.chats import Chat
from engine.demo.training.checkpoint import TEMPLATE, write_checkpoint
from engine.demo.training.encode import batches, encoded
from engine.demo.training.exam import fresh_chats, said_in_the_exam
from engine.demo.training.loop import STEPS, Plan, train
from engine.demo.training.vocabulary import trained_tokenizer
from gateway.prompt.control_tokens import harmless
from gateway.prompt.normalise import normalised
from gateway.prompt.tool_history import render_history
from gateway.prompt.tools import tool_plan, with_tools

_WORKERS = 2
_TOKENIZER_CHATS = 20_000
_BUFFERED_CHATS = 700
_CONTROL_TOKEN = re.compile(r"<[a-z_]+>")


def main() -> int:
    """Train, write the checkpoint, return 0."""
    parser = argparse.ArgumentParser(prog="train_demo", description="Train the demo model.")
    parser.add_argument("--steps", type=int, default=STEPS, help="how long to train (%(default)s)")
    parser.add_argument("--out", type=Path, default=MODEL, help="the folder to write (%(default)s)")
    options = parser.parse_args()
    forbidden = said_in_the_exam()
    render = renderer()
    chats = islice(fresh_chats(Random(7), forbidden), _TOKENIZER_CHATS)
    tokenizer = trained_tokenizer(_CONTROL_TOKEN.sub("\n", render(chat)) for chat in chats)
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "tokenizer.json"
        tokenizer.save(str(words))
        arguments = (options.steps, words, Path(folder) / "meeting", options.out)
        spawn = multiprocessing.get_context("spawn")
        workers = [spawn.Process(target=_work, args=(rank, *arguments)) for rank in range(_WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return max(abs(worker.exitcode or 0) for worker in workers)


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


def _work(rank: int, steps: int, words: Path, meeting: Path, out: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=_WORKERS)
    tokenizer = Tokenizer.from_file(str(words))
    plan, model = Plan(steps), untrained()
    render = renderer()
    chats = fresh_chats(Random(11 + rank), said_in_the_exam())
    samples = (encoded(tokenizer, render, chat) for chat in chats)
    train(model, batches(samples, plan.batch_tokens, _BUFFERED_CHATS, Random(5 + rank)), plan)
    if rank == 0:
        write_checkpoint(out, model, tokenizer)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
