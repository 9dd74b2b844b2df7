"""The demo model: a tiny Gemma 3n trained for this project, where there is no GPU, no token, no network.

This module only names the place of the checkpoint; it is imported by the launcher and must stay free of torch.
MODEL_CARD.md, beside it, says what the model can do and how it was made.
"""

from __future__ import annotations

from pathlib import Path

MODEL = Path(__file__).parent / "model"
SERVED_FILES = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
