"""The demo model's tokenizer: a byte-level BPE, trained on the chats that the model is trained on."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from engine.demo.training.architecture import BOS, SPECIAL_TOKENS, VOCAB_SIZE

# A small letter may have a blank before it, a capital may not: so a name is the same tokens in a sentence and in JSON,
# and can be copied from the one to the other. Digits and Chinese characters stand alone.
_PIECES = (
    r" ?[a-z]+|[A-Z][a-z]+|[A-Z]+|\d|[\u4e00-\u9fff]|, (?=[0-9A-Z])"
    r"| ?[^\sA-Za-z0-9\u4e00-\u9fff]+|\s"
)


def trained_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Return the tokenizer. Every byte is in its alphabet, so any text goes through it unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # As with Gemma, plain text gets <bos> in front; the chat template writes its own.
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    return tokenizer
