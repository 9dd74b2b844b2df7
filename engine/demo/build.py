"""Build the demo model: `python -m engine.demo.build OUT_DIR`.

The result is a checkpoint of the text-only class `Gemma3nForCausalLM` with random weights and a byte-level BPE trained
on the two corpus files beside this one. It reads no network and no file from outside this folder, and two runs give
the same bytes.

A trap for whoever trains these weights: vLLM's text-only class never adds the token part of the per-layer embeddings
(`embed_tokens_per_layer`); it uses the projection alone and unscaled. transformers adds it. Weights must therefore be
trained with `project_per_layer_inputs(inputs_embeds, None)`, or vLLM answers differently from what was trained. Real
checkpoints are of the ConditionalGeneration class, where both agree.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Gemma3nForCausalLM, Gemma3nTextConfig

from engine.demo import is_built

HERE = Path(__file__).parent
CORPUS = ("corpus_en.txt", "corpus_zh.txt")
# The first four ids are Gemma's own; its turn markers have ids that a vocabulary this small does not reach.
SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
PAD, EOS, BOS, _UNK, _START_OF_TURN, END_OF_TURN = range(len(SPECIAL_TOKENS))
VOCAB_SIZE = 3072
CONTEXT_TOKENS = 8192
SEED = 3
GAIN = 0.4


def build(out_dir: Path) -> None:
    """Make the checkpoint in `out_dir`, which must not exist or must be empty.

    All files appear at once: a build that is killed leaves `out_dir` untouched. When another process finishes first,
    its checkpoint (the same bytes) is kept.
    """
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    try:
        _write_tokenizer(scratch)
        _write_model(scratch)
        _let_others_read(scratch)
        _move_into_place(scratch, out_dir)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _let_others_read(folder: Path) -> None:
    """Undo the private modes of temporary folders and safetensors: the engine may run as another user."""
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


def _move_into_place(scratch: Path, out_dir: Path) -> None:
    try:
        scratch.rename(out_dir)
    except OSError:
        if not is_built(out_dir):
            raise


def _write_tokenizer(folder: Path) -> None:
    train_tokenizer().save(str(folder / "tokenizer.json"))
    template = (HERE / "chat_template.jinja").read_bytes()
    (folder / "chat_template.jinja").write_bytes(template)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT_TOKENS,
            "pad_token": "<pad>",
            "eos_token": "<eos>",
            "bos_token": "<bos>",
            "unk_token": "<unk>",
            "clean_up_tokenization_spaces": False,
        },
    )


def train_tokenizer() -> Tokenizer:
    """Train the byte-level BPE. Every byte is in its alphabet, so any text goes through it unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus_lines(), trainer)
    # As with Gemma, plain text gets <bos> in front; the chat template writes its own.
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    return tokenizer


def _corpus_lines() -> Iterator[str]:
    for name in CORPUS:
        yield from (HERE / name).read_text(encoding="utf-8").splitlines()


def _write_model(folder: Path) -> None:
    config = text_config()
    model = Gemma3nForCausalLM(config)
    fill_with_random_weights(model)
    config.architectures = [type(model).__name__]
    config.dtype = "bfloat16"
    config.save_pretrained(folder)
    weights = {name: weight.detach().bfloat16() for name, weight in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(
        folder / "generation_config.json",
        {"bos_token_id": BOS, "eos_token_id": [EOS, END_OF_TURN], "pad_token_id": PAD},
    )


def text_config() -> Gemma3nTextConfig:
    """Return the architecture: every mechanism of Gemma 3n, in 3.7 M parameters.

    The layers before the shared ones must end in "sliding, full": vLLM takes the shared keys and values from the
    last two of them.
    """
    return Gemma3nTextConfig(
        vocab_size=VOCAB_SIZE,
        vocab_size_per_layer_input=VOCAB_SIZE,
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=6,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
        num_kv_shared_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        sliding_window=256,
        max_position_embeddings=CONTEXT_TOKENS,
        hidden_size_per_layer_input=16,
        laurel_rank=16,
        activation_sparsity_pattern=[0.5, 0.5, 0.5, 0.0, 0.0, 0.0],
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=[EOS, END_OF_TURN],
    )


def fill_with_random_weights(model: Gemma3nForCausalLM) -> None:
    """Set every weight from SEED; vectors (norms and scales) become ones.

    Integers are drawn and then scaled: unlike normal numbers they are the same on every CPU. SEED and GAIN were chosen
    by looking: with a gain of 1 or more most greedy answers repeat one token for ever, with 0.4 about 33 of 40 tokens
    of an answer differ, and no prompt tried ended its answer at the first token.
    """
    generator = torch.Generator().manual_seed(SEED)
    for _name, weight in sorted(model.named_parameters()):
        values = torch.ones(weight.shape)
        if weight.dim() > 1:
            steps = torch.randint(-(2**15), 2**15, weight.shape, generator=generator)
            values = steps.float() / 2**15 * (3 / weight.shape[-1]) ** 0.5 * GAIN
        weight.data.copy_(values)


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Build into the folder named by the only argument; a checkpoint that is there already is left alone."""
    if len(arguments) != 1:
        print("usage: python -m engine.demo.build OUT_DIR", file=sys.stderr)
        return 2
    out_dir = Path(arguments[0])
    if not is_built(out_dir):
        build(out_dir)
    print(out_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
