"""Build a tiny Gemma 3n with eyes and ears, random weights throughout: `python -m tests.engine.media_model OUT_DIR`.

`Gemma3nForConditionalGeneration` with every part of the real one: MobileNetV5 (a sixteenth as wide), the audio
conformer (two layers), the embedders and their soft tokens, the processor. 12 M parameters. The text part is that of
the demo model.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Gemma3nAudioFeatureExtractor,
    Gemma3nConfig,
    Gemma3nForConditionalGeneration,
    Gemma3nProcessor,
    GenerationConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from engine.demo.training.architecture import BOS, END_OF_TURN, EOS, PAD, SPECIAL_TOKENS, text_config
from engine.demo.training.checkpoint import TEMPLATE
from engine.demo.training.grammar import DATA

TEXT_VOCAB = 3072
MEDIA_VOCAB = 128
"""Of each of the two embedders, behind the text's: an end marker, the soft token, and the rest unused."""
LINE_FEEDS = ["\n" * count for count in (1, 2, 3, 4)]
"""Single tokens in Gemma's vocabulary, and vLLM looks them up by these names."""
BEGIN_OF_IMAGE, BEGIN_OF_AUDIO = len(SPECIAL_TOKENS), len(SPECIAL_TOKENS) + 1
IMAGE_PIXELS = 768
SEED = 3
GAIN = 0.4


def build(folder: Path) -> None:
    """Write the checkpoint into `folder`."""
    config = _config()
    model: Any = Gemma3nForConditionalGeneration(config)
    generator = torch.Generator().manual_seed(SEED)
    for _name, weight in sorted(model.named_parameters()):
        if weight.dim() > 1:
            inputs = weight.numel() // weight.shape[0]
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * inputs**-0.5 * GAIN)
    model.to(torch.bfloat16).save_pretrained(folder)
    size = {"height": IMAGE_PIXELS, "width": IMAGE_PIXELS}
    images = SiglipImageProcessorPil(size=size, do_normalize=False)
    tokenizer = _tokenizer()
    Gemma3nProcessor(
        Gemma3nAudioFeatureExtractor(), images, tokenizer, chat_template=tokenizer.chat_template
    ).save_pretrained(folder)
    generation: Any = GenerationConfig
    generation(bos_token_id=BOS, eos_token_id=[EOS, END_OF_TURN], pad_token_id=PAD).save_pretrained(folder)


def _config() -> Gemma3nConfig:
    text = text_config().to_dict() | {
        "vocab_size": TEXT_VOCAB + 2 * MEDIA_VOCAB,
        "vocab_size_per_layer_input": TEXT_VOCAB,
    }
    return Gemma3nConfig(
        text_config=text,
        vision_config={"vocab_offset": TEXT_VOCAB, "model_args": {"channel_multiplier": 1 / 16}},
        audio_config={
            "vocab_offset": TEXT_VOCAB + MEDIA_VOCAB,
            "hidden_size": 64,
            "conf_num_attention_heads": 4,
            "conf_num_hidden_layers": 2,
            "sscp_conv_channel_size": (16, 8),
        },
        boi_token_id=BEGIN_OF_IMAGE,
        eoi_token_id=TEXT_VOCAB,
        image_token_id=TEXT_VOCAB + 1,
        boa_token_id=BEGIN_OF_AUDIO,
        eoa_token_id=TEXT_VOCAB + MEDIA_VOCAB,
        audio_token_id=TEXT_VOCAB + MEDIA_VOCAB + 1,
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TEXT_VOCAB - len(LINE_FEEDS),
        special_tokens=[*SPECIAL_TOKENS, "<start_of_image>", "<start_of_audio>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    lines = (line for path in sorted(DATA.glob("*.txt")) for line in path.read_text(encoding="utf-8").splitlines())
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in LINE_FEEDS])
    for kind in ("image", "audio"):
        unused = [f"<unused_{kind}_{index}>" for index in range(MEDIA_VOCAB - 2)]
        names = [f"<end_of_{kind}>", f"<{kind}_soft_token>", *unused]
        tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    make: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = make(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={
            "image_token": "<image_soft_token>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "audio_token": "<audio_soft_token>",
            "boa_token": "<start_of_audio>",
            "eoa_token": "<end_of_audio>",
        },
    )
    made.chat_template = TEMPLATE.read_text(encoding="utf-8")
    return made


if __name__ == "__main__":
    build(Path(sys.argv[1]))
