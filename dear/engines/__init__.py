"""What a model must be able to do for each stage, and how to get one.

`open_scorer` and `open_generator` (in `dear.engines.choice`) pick an engine and say why. Engines: `transformers`
(fp32, bf16, bitsandbytes NF4), `onnx` (int4 on CPU), `openai` (any compatible server), `fake` (deterministic; for
tests of everything that is not a model). Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is running and why: shown in the log, by `doctor` and in the page's chip."""

    engine: str  # "transformers" | "onnx" | "openai" | "fake"
    model: str  # zoo name, hub id or path
    precision: str  # "fp32" | "bf16" | "nf4" | "int4" | "remote"
    device: str  # "cpu" | "cuda:0" | the server's address
    reason: str = ""  # why this engine and precision were chosen
    trained: bool = True  # False: the bare base, zero-shot
    prompt: str = "nano"  # the prompt family (see `dear.prompts`)
    excerpt: int = 0  # words that a scorer reads of a long passage (0: its head)

    def chip(self) -> str:
        """A short label, e.g. 'dear-nano · int4 · CPU', with 'zero-shot' when no adapter is on it."""
        device = "CPU" if self.device == "cpu" else self.device
        return " · ".join([self.model, self.precision, device] + ([] if self.trained else ["zero-shot"]))


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one finished batch: `scores[i]` belongs to the pair at position `indices[i]` of the input."""

    indices: tuple[int, ...]
    scores: tuple[float, ...]
    tokens: int  # real tokens read, padding not counted


@runtime_checkable
class Scorer(Protocol):
    """Stage 1: one relevance score a (query, passage) pair, the same whatever the padding, batch and neighbours."""

    info: EngineInfo

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """Yield batches as they finish, every pair exactly once, in any order; closing the iterator stops the model."""
        ...


@runtime_checkable
class Session(Protocol):
    """One decode with its cache: the tokens read so far and the logits after them."""

    def logits(self) -> np.ndarray:
        """Next-token logits after the tokens read so far, float32, shape (vocabulary,)."""
        ...

    def append(self, ids: Sequence[int]) -> None:
        """Read more tokens."""
        ...

    def catch_up(self) -> Iterator[None]:
        """Read what was appended so far, yielding between chunks so that a long prompt can be left; `logits` does the same at once."""
        ...

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` tokens, keeping their cache."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class TokenGenerator(Protocol):
    """Stage 2 on a local model: tokens in, logits out. Decoding itself (greedy, constrained, fast) is `dear.listwise`."""

    info: EngineInfo
    context: int  # tokens of prompt and answer together
    eos_ids: frozenset[int]

    def render(self, messages: Sequence[Message]) -> str:
        """The exact prompt text: chat template applied, generation prompt added, exactly one BOS where the family has one."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; nothing is added."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, special tokens left out."""
        ...

    def open(self, ids: Sequence[int]) -> Session:
        """A session that has read `ids`. One is open at a time: opening the next may reuse the cache of a common prefix."""
        ...


@runtime_checkable
class TextGenerator(Protocol):
    """Stage 2 on a server: text in, text out, greedy."""

    info: EngineInfo
    context: int

    def count(self, text: str) -> int:
        """Tokens of `text`; an upper estimate when the server's tokenizer is unknown."""
        ...

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield pieces of the greedy answer as they come; closing the iterator ends the request."""
        ...
