"""A trained model → the folder that vLLM and transformers load."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Gemma3nForCausalLM

from engine.demo.training.architecture import BOS, CONTEXT_TOKENS, END_OF_TURN, EOS, PAD

TEMPLATE = Path(__file__).parents[1] / "chat_template.jinja"


def write_checkpoint(folder: Path, model: Gemma3nForCausalLM, tokenizer: Tokenizer) -> None:
    """Write model, tokenizer, chat template and defaults. The weights are stored in bfloat16, as Gemma's are."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "bfloat16"
    model.config.save_pretrained(folder)
    weights = {name: weight.detach().bfloat16().contiguous() for name, weight in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / TEMPLATE.name).write_bytes(TEMPLATE.read_bytes())
    ends = {"bos_token_id": BOS, "eos_token_id": [EOS, END_OF_TURN], "pad_token_id": PAD}
    _write_json(folder / "generation_config.json", {**ends, "do_sample": True, "temperature": 0.3})
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    length = {"model_max_length": CONTEXT_TOKENS, "clean_up_tokenization_spaces": False}
    kind = {"tokenizer_class": "PreTrainedTokenizerFast"}
    _write_json(folder / "tokenizer_config.json", {**kind, **length, **special})


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
