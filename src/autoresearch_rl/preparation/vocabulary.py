"""A byte-level BPE vocabulary (Hugging Face `tokenizers`), and tokens whose raw bytes are known exactly.

Each character of a byte-level token stands for one byte, so a token's bytes are looked up, never decoded:
decoding a token that ends within a character gives other bytes than were there. What is encoded is compared
with the text. The mark at the start of a document is ours: the tokenizer does not know it, so no text can
spell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoresearch_rl.errors import ConfigurationError, SourceError

SMALLEST, LARGEST = 258, 1 << 16
# Words with the space before them, numbers of at most two digits, runs of signs, runs of space: as GPT-4 and
# nanochat split text, so that no token crosses such a border.
PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
    r"\s+(?!\S)|\s+"
)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigurationError(
            "a vocabulary needs the library tokenizers: pip install 'autoresearch-rl[nanochat]'"
        ) from error
    return tokenizers


def train(texts: Iterable[str], vocab_size: int) -> str:
    """Trains a vocabulary of `vocab_size` tokens, the mark at the start of documents included.

    Returns:
        It, as JSON.

    Raises:
        ConfigurationError: the size is out of range, or the texts are too few for it.
    """
    if not SMALLEST <= vocab_size <= LARGEST or vocab_size % 2:
        raise ConfigurationError(
            f"vocab_size must be even, from {SMALLEST} to {LARGEST}, but the task says {vocab_size}"
        )
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(
        [
            library.pre_tokenizers.Split(library.Regex(PATTERN), "isolated"),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if (found := tokenizer.get_vocab_size()) != vocab_size - 1:
        raise ConfigurationError(
            f"the text gives {found} tokens only, and the task's vocab_size is {vocab_size}: "
            "prepare more text, or make vocab_size smaller"
        )
    return str(tokenizer.to_str())


class Encoder:
    """Turns documents into tokens. The mark is the last token, and has no bytes.

    Args:
        trained: what `train` has returned.
    """

    def __init__(self, trained: str) -> None:
        self._tokenizer = _library().Tokenizer.from_str(trained)
        spelt = sorted(self._tokenizer.get_vocab().items(), key=lambda item: item[1])
        byte_of = _byte_of_character()
        self.vocabulary = [bytes(byte_of[character] for character in name) for name, _ in spelt] + [b""]
        self.mark = len(self.vocabulary) - 1

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.uint16]]:
        """uint16[n] of each text, the mark first.

        Raises:
            SourceError: the tokens of a text do not spell it, byte by byte.
        """
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        for text, found in zip(texts, encoded, strict=True):
            if b"".join([self.vocabulary[token] for token in found.ids]) != text.encode():
                raise SourceError(f"the tokens of a document do not spell it: {text[:60]!r}")
        return [np.array([self.mark, *found.ids], dtype="<u2") for found in encoded]


def _byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level token stands for (as in GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
