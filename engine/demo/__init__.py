"""The demo model: a tiny Gemma 3n built from this project's own files, where there is no GPU, no token, no network.

This module only names the place of the checkpoint; it is imported by the launcher and must stay free of torch.
`python -m engine.demo.build OUT_DIR` makes the checkpoint.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

SERVED_FILES = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
_INPUTS = ("build.py", "chat_template.jinja", "corpus_en.txt", "corpus_zh.txt")


def model_dir(data_dir: Path) -> Path:
    """Return the folder in which this recipe's checkpoint lives, whether or not it has been built.

    The name carries a hash of everything the build reads, so a changed recipe is built anew and never mistaken
    for the old one.
    """
    digest = hashlib.sha256()
    for name in _INPUTS:
        content = (Path(__file__).parent / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return data_dir / f"demo-model-{digest.hexdigest()[:12]}"


def is_built(path: Path) -> bool:
    """Say whether `path` holds a whole checkpoint; the build renames it into place, so there is no half of one."""
    return all((path / name).is_file() for name in SERVED_FILES)
