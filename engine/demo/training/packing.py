"""Chats packed into rows of one length, so that every step of the training has the same shape and little is padding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from engine.demo.training.architecture import END_OF_TURN, EOS, UNK
from engine.demo.training.encode import Sample

_WAITING_SAMPLES = 64
"""So many samples that fit nowhere wait for the next batch, before a batch counts as full."""

_FILLER = EOS
"""What stands where no chat is. Not <pad>: its embedding is zero, and the norm of zero has no gradient."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of tokens, several chats in each. All tensors are [rows, tokens]."""

    ids: torch.Tensor
    learnt: torch.Tensor
    """Whether a token is to be learnt."""
    chats: torch.Tensor
    """Which chat of its row a token is of, from 1; 0 is padding."""
    positions: torch.Tensor
    """The place of a token in its chat, from 0."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        parts = (self.ids, self.learnt, self.chats, self.positions)
        return Batch(*(part.to(device, non_blocking=True) for part in parts))

    def with_words_hidden(self, share: float) -> Batch:
        """Return the batch with that share of its words unknown, but none of those to be learnt: word dropout.

        What people ask has words that were in no chat of the training, and the others must do (Iyyer et al., Deep
        Unordered Composition Rivals Syntactic Methods for Text Classification, 2015).
        """
        words = (self.ids > END_OF_TURN) & ~self.learnt
        hidden = words & (torch.rand(self.ids.shape, device=self.ids.device) < share)
        return replace(self, ids=self.ids.masked_fill(hidden, UNK))

    def masks(self, window: int) -> Mapping[str, torch.Tensor]:
        """Return what each kind of layer may look at: [rows, 1, tokens, tokens], what is before in the same chat."""
        same = self.chats[:, :, None] == self.chats[:, None, :]
        back = self.positions[:, :, None] - self.positions[:, None, :]
        full = same & (back >= 0)
        return {"full_attention": full[:, None], "sliding_attention": (full & (back < window))[:, None]}


def packed(samples: Iterable[Sample], rows: int, row_tokens: int) -> Iterator[Batch]:
    """Return batches of samples, each sample in the first row that has room.

    Samples longer than a row are left out, and so is what makes no full batch at the end: chats have no end.
    """
    held: list[list[Sample]] = [[] for _ in range(rows)]
    room, waiting = [row_tokens] * rows, []
    for sample in samples:
        if len(sample.ids) > row_tokens:
            continue
        if not _put(sample, held, room):
            waiting.append(sample)
        if len(waiting) >= _WAITING_SAMPLES:
            yield _batch(held, row_tokens)
            held, room = [[] for _ in range(rows)], [row_tokens] * rows
            waiting = [each for each in waiting if not _put(each, held, room)]


def _put(sample: Sample, held: list[list[Sample]], room: list[int]) -> bool:
    for row, left in enumerate(room):
        if left >= len(sample.ids):
            held[row].append(sample)
            room[row] -= len(sample.ids)
            return True
    return False


def _batch(held: list[list[Sample]], row_tokens: int) -> Batch:
    def rows(kind: torch.dtype, padding: int, of_sample: list[list[list[int]]]) -> torch.Tensor:
        flat = [[value for part in row for value in part] for row in of_sample]
        return torch.tensor([row + [padding] * (row_tokens - len(row)) for row in flat], dtype=kind)

    return Batch(
        rows(torch.int64, _FILLER, [[it.ids for it in row] for row in held]),
        rows(torch.bool, 0, [[[int(each) for each in it.learnt] for it in row] for row in held]),
        rows(torch.int32, 0, [[[at] * len(it.ids) for at, it in enumerate(row, 1)] for row in held]),
        rows(torch.int64, 0, [[list(range(len(it.ids))) for it in row] for row in held]),
    )
