"""What vLLM is doing while it loads, read from its log. Pure."""

from __future__ import annotations

_MARKS = (
    ("Starting vLLM server on", "starting the HTTP server"),
    ("init engine (", "preparing the HTTP server"),
    ("Graph capturing", "capturing CUDA graphs"),
    ("Dynamo bytecode transform time", "compiling"),
    ("KV cache size", "warming up"),
    ("Model loading took", "setting up the KV cache"),
    ("Loading weights", "loading weights"),
    ("Starting to load model", "loading weights"),
    ("Initializing a V1 LLM engine", "starting the engine core"),
    ("Resolved architecture", "reading the model's configuration"),
)
FIRST_STAGE = "importing vLLM"


def stage_of(lines: list[str]) -> str:
    """Return the latest stage that the lines tell of, in words for people."""
    for line in reversed(lines):
        for mark, stage in _MARKS:
            if mark in line:
                return stage
    return FIRST_STAGE
