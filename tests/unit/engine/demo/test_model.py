"""The demo model's checkpoint: that it is whole, small, of the right class, and that text goes through it unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import demo

TEXTS = [
    "Hello, world!",
    "  two spaces,\ttab,\nnew line\r\n and \x00\x01 control characters ",
    "你好！今天天气怎么样？龘靐齉 𠮷",
    "👨‍👩‍👧‍👦 🇨🇳 ❤️ 👋🏽 🎉",
    "Ελλάδα Привет مرحبا שלום 안녕하세요 e\u0301 \u2028 \ufeff",
    "<start_of_tur n> <notatoken> </s>",
    "",
]


def test_the_checkpoint_is_there_for_everybody_to_read_and_small() -> None:
    assert sorted(path.name for path in demo.MODEL.iterdir()) == sorted(demo.SERVED_FILES)
    assert all(path.stat().st_mode & 0o044 for path in demo.MODEL.iterdir())
    assert sum(path.stat().st_size for path in demo.MODEL.iterdir()) < 10_000_000


def test_naming_the_folder_does_not_import_torch() -> None:
    code = (
        "import sys, engine.demo; engine.demo.MODEL.is_dir(); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0


@pytest.mark.engine
def test_special_tokens_have_gemmas_ids_and_end_an_answer(checkpoint: Path) -> None:
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    assert ids == {
        "<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<start_of_turn>": 4, "<end_of_turn>": 5,
    }  # fmt: skip

    generation = json.loads((checkpoint / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [ids["<eos>"], ids["<end_of_turn>"]]


@pytest.mark.engine
def test_the_checkpoint_is_gemma_3ns_text_only_class(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())

    assert config["architectures"] == ["Gemma3nForCausalLM"]
    # An id without a token could be generated and then not be turned into text.
    assert config["vocab_size"] == len(tokenizer["model"]["vocab"])
    unshared = config["layer_types"][: -config["num_kv_shared_layers"]]
    assert unshared[-2:] == ["sliding_attention", "full_attention"]


@pytest.mark.engine
@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_unchanged(checkpoint: Path, text: str) -> None:
    from tokenizers import Tokenizer  # noqa: PLC0415 - absent where the engine is not installed

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    ids = tokenizer.encode(text).ids

    assert ids[0] == 2
    assert tokenizer.decode(ids) == text


@pytest.mark.engine
@pytest.mark.filterwarnings("default")
def test_transformers_loads_the_checkpoint_and_generates(checkpoint: Path) -> None:
    import torch  # noqa: PLC0415 - absent where the engine is not installed
    from tokenizers import Tokenizer  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    prompt = tokenizer.encode("<start_of_turn>user\nHello!<end_of_turn>\n<start_of_turn>model\n").ids
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    answer = model.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False)[0, len(prompt) :].tolist()

    assert sum(weight.numel() for weight in model.parameters()) < 4_000_000
    assert "Hello" in tokenizer.decode(answer)
    # Where this is not zero, vLLM and transformers answer differently: see engine/demo/training/architecture.py.
    assert not model.model.embed_tokens_per_layer.weight.any()
