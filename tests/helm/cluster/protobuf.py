"""The Secrets that Helm writes, out of Kubernetes's protobuf: it keeps its releases in them.

The numbers are those of `k8s.io/api/core/v1/generated.proto` and `k8s.io/apimachinery/pkg/runtime/generated.proto`.
"""

from __future__ import annotations

import base64
from typing import Any

_MAGIC = b"k8s\0"
_RAW, _METADATA, _DATA, _TYPE = 2, 1, 2, 3
_NAME, _LABELS = 1, 11

Fields = dict[int, list[Any]]


def secret_of(body: bytes) -> dict[str, Any]:
    """Return a Secret as JSON would have it. Raises ValueError for anything else."""
    if not body.startswith(_MAGIC):
        raise ValueError("no protobuf of Kubernetes")
    secret = _fields(_fields(body[len(_MAGIC) :])[_RAW][0])
    meta = _fields(secret[_METADATA][0])
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": meta[_NAME][0].decode(),
            "labels": {key: value.decode() for key, value in _map(meta.get(_LABELS, [])).items()},
        },
        "type": secret[_TYPE][0].decode(),
        "data": {key: base64.b64encode(value).decode() for key, value in _map(secret[_DATA]).items()},
    }


def _map(entries: list[bytes]) -> dict[str, bytes]:
    pairs = [_fields(entry) for entry in entries]
    return {pair[1][0].decode(): pair[2][0] for pair in pairs}


def _fields(data: bytes) -> Fields:
    """Return the values by their numbers; numbers as numbers, the rest as bytes."""
    found: Fields = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value: Any
            value, at = _varint(data, at)
        elif tag & 7 == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
