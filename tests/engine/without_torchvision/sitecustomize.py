"""Lets timm be imported where no torchvision fits the installed torch, in the processes of a test's engine.

Put this folder on PYTHONPATH. timm names torchvision when it is imported, for data sets and image transforms that
Gemma 3n's tower never uses. So names stand in for torchvision while timm is imported, and are gone afterwards: all that
the engine does with images is done by timm, torch and Pillow themselves.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

_MODULES = (
    *("torchvision", "torchvision.ops", "torchvision.ops.misc", "torchvision.models"),
    *("torchvision.models.feature_extraction", "torchvision.transforms", "torchvision.transforms.functional"),
    *("torchvision.datasets", "torchvision.utils"),
)
_WANTED_BY = ("vllm", "multiprocessing", "media_model")


class _Named(type):
    """A class of which every attribute is its name."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Names(ModuleType):
    """A module of which every attribute is such a class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Named(name, (), {})


def _import_timm() -> None:
    made = {name: _Names(name) for name in _MODULES}
    for name, module in made.items():
        module.__path__ = []
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, module)
    sys.modules.update(made)
    __import__("timm")
    for name in _MODULES:
        del sys.modules[name]


if any(name in argument for argument in sys.orig_argv for name in _WANTED_BY):
    _import_timm()
