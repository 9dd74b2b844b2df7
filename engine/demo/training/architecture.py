"""The demo model's shape: every mechanism of Gemma 3n, in 3.8 million parameters.

A trap: vLLM's text-only class never adds the token part of the per-layer embeddings (`embed_tokens_per_layer`); it uses
the projection alone and unscaled. transformers adds it and scales the sum. Here that part is zero and stays zero. What
comes of the projection goes through a norm that undoes its scale, so that both say the same. Real checkpoints are of
the ConditionalGeneration class, where both agree anyway.
"""

from __future__ import annotations

import torch
from transformers import Gemma3nForCausalLM, Gemma3nTextConfig

# The first four ids are Gemma's own; its turn markers have ids that a vocabulary this small does not reach.
SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
PAD, EOS, BOS, UNK, START_OF_TURN, END_OF_TURN = range(len(SPECIAL_TOKENS))
VOCAB_SIZE = 2560
CONTEXT_TOKENS = 8192
_SEED = 3


def text_config() -> Gemma3nTextConfig:
    """Return the architecture.

    The layers before the shared ones must end in "sliding, full": vLLM takes the shared keys and values from the
    last two of them.
    """
    return Gemma3nTextConfig(
        vocab_size=VOCAB_SIZE,
        vocab_size_per_layer_input=VOCAB_SIZE,
        hidden_size=224,
        intermediate_size=448,
        num_hidden_layers=6,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
        num_kv_shared_layers=3,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
        sliding_window=256,
        max_position_embeddings=CONTEXT_TOKENS,
        hidden_size_per_layer_input=16,
        laurel_rank=16,
        activation_sparsity_pattern=[0.5, 0.0, 0.0, 0.0, 0.0, 0.0],
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=[EOS, END_OF_TURN],
    )


def untrained() -> Gemma3nForCausalLM:
    """Return the model with its first weights, the same each time. The token part is zero, and frozen."""
    torch.manual_seed(_SEED)
    model = Gemma3nForCausalLM(text_config())
    token_part = model.model.embed_tokens_per_layer.weight
    token_part.data.zero_()
    token_part.requires_grad_(False)
    return model
