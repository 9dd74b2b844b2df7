"""Events out of bytes, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EngineBroke
from gateway.upstream.sse import EventSplitter
from tests.unit.gateway.upstream import recordings


def split(*parts: bytes) -> list[bytes]:
    """Feed these parts and return all payloads."""
    splitter = EventSplitter()
    return list(itertools.chain.from_iterable(map(splitter.feed, parts)))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:end] for start, end in itertools.pairwise([0, *places, len(data)])]


def reference(stream: bytes) -> list[bytes]:
    """Read a whole stream line by line, as the specification says it."""
    payloads: list[bytes] = []
    data: list[bytes] = []
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for line in lines[:-1]:
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value[1:] if value.startswith(b" ") else value)
        else:
            payloads += [b"\n".join(data)] if data else []
            data = []
    return payloads


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"event: x\nid: 5\ndata: a\nretry: 10\n\n", [b"a"]),
        (b": ping\n\n", []),
        (b": ping\ndata: a\n\n", [b"a"]),
        (b"event: x\n\n", []),
        (b"\n\n\n\ndata: a\n\n\n\n\n", [b"a"]),
        (b"data: a\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a: b\n\n", [b"a: b"]),
        (b"data:\n\n", [b""]),
        (b"data\n\n", [b""]),
        (b"data: a\ndata\n\n", [b"a\n"]),
        (b"database: x\n\n", []),
        (b" data: x\n\n", []),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"data: a\r\n\r\n", [b"a"]),
        (b"data: a\r\rdata: b\r\r:", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\ndata: c\n\r:", [b"a", b"b", b"c"]),
        (b"data: \xe6\x97\xa9\xff\x00\n\n", [b"\xe6\x97\xa9\xff\x00"]),
    ],
)
def test_a_stream_is_read_as_the_specification_says(stream: bytes, expected: list[bytes]) -> None:
    assert split(stream) == expected
    assert split(*(bytes([byte]) for byte in stream)) == expected


@pytest.mark.parametrize("name", recordings.STREAMS)
def test_what_vllm_sends_is_split_into_its_events_byte_by_byte(name: str) -> None:
    _, body = recordings.answer(name)
    payloads = split(*(bytes([byte]) for byte in body))
    assert payloads == recordings.payloads(name)
    assert payloads[-1] == b"[DONE]"


LINES = st.lists(
    st.builds(
        lambda field, value, end: field + value + end,
        st.sampled_from([b"data: ", b"data:", b"data", b": ", b"event: ", b""]),
        st.text(st.sampled_from(list('ab :"\\{}早')), max_size=6).map(str.encode),
        st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r"]),
    ),
    max_size=12,
).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=8)


@given(LINES, CUTS)
def test_any_cutting_of_any_stream_gives_the_events_of_the_specification(stream: bytes, cuts: list[int]) -> None:
    stream += b":"  # A carriage return at the very end may be half of a line end, and is held back.
    assert split(*pieces(stream, cuts)) == reference(stream)


@given(st.lists(st.text().map(lambda text: text.replace("\n", "").replace("\r", "").encode()), max_size=8), CUTS)
def test_what_is_written_as_vllm_writes_it_comes_out_as_it_went_in(texts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(b"data: " + text + b"\n\n" for text in texts)
    assert split(*pieces(stream, cuts)) == texts


def test_an_event_is_given_out_with_its_last_byte_and_not_later() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\n") == []
    assert splitter.feed(b"\n") == [b"a"]
    assert splitter.feed(b"data: b\r\n\r") == []
    assert splitter.feed(b"\n") == [b"b"]


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    with pytest.raises(EngineBroke, match="without an end"):
        split(*[b"x" * 1_000_000] * 20)


def test_a_long_event_with_an_end_passes() -> None:
    assert split(b"data: ", b"x" * 5_000_000, b"\n\n") == [b"x" * 5_000_000]
