"""The ids that requests get."""

from __future__ import annotations

import os
import re
from itertools import islice

import pytest

from gateway.api.context import new_request_id, request_ids

MANY = 1000


def test_every_request_has_an_id_of_its_own() -> None:
    ids = [*islice(request_ids(), MANY), *(new_request_id() for _ in range(MANY))]

    assert len(set(ids)) == 2 * MANY
    assert all(re.fullmatch("req_[0-9a-f]{32}", each) for each in ids)


def test_many_ids_are_drawn_at_once_and_each_is_random_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[bytes] = []
    from_the_system = os.urandom

    def draw(size: int) -> bytes:
        drawn.append(from_the_system(size))
        return drawn[-1]

    monkeypatch.setattr(os, "urandom", draw)

    ids = list(islice(request_ids(at_once=8), 20))

    assert [len(each) for each in drawn] == [128, 128, 128]
    assert "".join(each.removeprefix("req_") for each in ids) == b"".join(drawn)[: 20 * 16].hex()
