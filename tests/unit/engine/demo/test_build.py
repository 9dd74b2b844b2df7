"""The demo model: where it lives, that its build repeats byte for byte, and that what it makes can be used."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import demo
from tests.unit.engine.demo.conftest import build_in_subprocess

TEXTS = [
    "Hello, world!",
    "  two spaces,\ttab,\nnew line\r\n and \x00\x01 control characters ",
    "你好！今天天气怎么样？龘靐齉 𠮷",
    "👨‍👩‍👧‍👦 🇨🇳 ❤️ 👋🏽 🎉",
    "Ελλάδα Привет مرحبا שלום 안녕하세요 e\u0301 \u2028 \ufeff",
    "<start_of_tur n> <notatoken> </s>",
    "",
]


def copy_recipe(folder: Path) -> None:
    for path in Path(demo.__file__).parent.iterdir():
        if path.is_file():
            shutil.copy(path, folder)


def test_the_folder_is_named_by_the_recipe(tmp_path: Path) -> None:
    folder = demo.model_dir(tmp_path)

    assert folder.parent == tmp_path
    prefix, digest = folder.name[:-12], folder.name[-12:]
    assert prefix == "demo-model-"
    assert set(digest) <= set("0123456789abcdef")
    assert demo.model_dir(tmp_path) == folder


@pytest.mark.parametrize("changed", ["build.py", "chat_template.jinja", "corpus_en.txt", "corpus_zh.txt"])
def test_a_changed_recipe_has_another_folder(changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = demo.model_dir(tmp_path)
    copy_recipe(tmp_path)
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "__init__.py"))
    assert demo.model_dir(tmp_path) == before

    with (tmp_path / changed).open("a") as file:
        file.write("\n")

    assert demo.model_dir(tmp_path) != before


def test_a_folder_with_a_file_missing_is_not_built(tmp_path: Path) -> None:
    assert not demo.is_built(tmp_path / "nowhere")
    for name in demo.SERVED_FILES:
        assert not demo.is_built(tmp_path)
        (tmp_path / name).touch()
    assert demo.is_built(tmp_path)


def test_naming_the_folder_does_not_import_torch() -> None:
    code = (
        "import sys, pathlib, engine.demo; engine.demo.model_dir(pathlib.Path('x')); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0


@pytest.mark.engine
def test_two_builds_give_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    build_in_subprocess(second, PYTHONHASHSEED="2", OMP_NUM_THREADS="1", TZ="Asia/Tokyo", LC_ALL="C")

    assert digests(second) == digests(checkpoint)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.engine
def test_the_build_leaves_only_a_whole_checkpoint_that_others_may_read(checkpoint: Path) -> None:
    assert demo.is_built(checkpoint)
    assert list(checkpoint.parent.iterdir()) == [checkpoint]
    assert all(path.stat().st_mode & 0o044 for path in checkpoint.iterdir())
    assert sum(path.stat().st_size for path in checkpoint.iterdir()) < 10_000_000


@pytest.mark.engine
def test_a_checkpoint_that_is_there_is_left_alone(checkpoint: Path) -> None:
    before = (checkpoint / "model.safetensors").stat()
    build_in_subprocess(checkpoint)
    after = (checkpoint / "model.safetensors").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


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
    assert len(answer) == 8
    assert len(set(answer)) > 1
