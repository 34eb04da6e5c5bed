"""Both stages with transformers: fp32 or bf16, or bitsandbytes NF4 on a GPU (and, slowly, on CPU)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dear import prompts
from dear.engines import EngineInfo, Message, Scored
from dear.engines.chat import encode_plain, eos_ids, render_chat
from dear.engines.session import LazySession
from dear.errors import EngineError
from dear.loading import Student
from dear.pairs import encode_pair, encode_pairs

__all__ = ["TransformersGenerator", "TransformersScorer", "encode_pair"]

logger = logging.getLogger(__name__)

BATCH_TOKENS = {"cpu": 1_024, "cuda": 16384}  # padded tokens a batch
YES, NO = "Yes", "No"


def engine_info(student: Student, reason: str) -> EngineInfo:
    """What is shown about a loaded student."""
    notes = "; ".join(part for part in (reason, *student.notes) if part)
    family = student.checkpoint.family
    return EngineInfo("transformers", student.checkpoint.name, student.precision, student.device, notes, student.trained, family)


class TransformersScorer:
    """A `Scorer`: pairs sorted by length, packed by a token budget, read at the last real token.

    Padding is on the right and attention is causal, so a pad is never seen: a pair's score is the same in any batch, up to
    rounding. A student without a score head is asked whether the passage answers the query: log p(Yes) - log p(No).
    """

    def __init__(self, student: Student, *, name: str = "", reason: str = "", batch_tokens: int | None = None) -> None:
        self._student = student
        info = engine_info(student, reason)
        self.info = replace(info, model=name or info.model, excerpt=student.checkpoint.excerpt if student.head == "score" else 0)
        self._budget = batch_tokens or BATCH_TOKENS["cuda" if student.device.startswith("cuda") else "cpu"]
        self._answers = None if student.head == "score" else [encode_plain(student.tokenizer, word)[0] for word in (YES, NO)]

    def score(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> Iterator[Scored]:
        """Yield batches as they finish, the shortest pairs first; see `dear.engines.Scorer`."""
        pairs = self._encode(query, texts, titles)
        for indices in batches([len(ids) for ids in pairs], self._budget):
            yield Scored(tuple(indices), self._forward([pairs[i] for i in indices]), sum(len(pairs[i]) for i in indices))

    def close(self) -> None:
        """Let go of the weights."""
        self._student.close()

    def _encode(self, query: str, texts: Sequence[str], titles: Sequence[str]) -> list[list[int]]:
        checkpoint, tokenizer = self._student.checkpoint, self._student.tokenizer
        if self._answers is None:
            return encode_pairs(tokenizer, query, titles, texts, checkpoint.q_len, checkpoint.p_len, checkpoint.excerpt)
        found = []
        for title, text in zip(titles, texts, strict=True):
            cut = tokenizer.decode(encode_plain(tokenizer, prompts.neutralise(text))[: checkpoint.p_len])
            found.append(encode_plain(tokenizer, render_chat(tokenizer, prompts.judge(query, title, cut))))
        return found

    @torch.inference_mode()
    def _forward(self, pairs: Sequence[Sequence[int]]) -> tuple[float, ...]:
        lengths = torch.tensor([len(ids) for ids in pairs])
        ids = torch.full((len(pairs), int(lengths.max())), self._student.tokenizer.pad_token_id)
        for row, pair in zip(ids, pairs, strict=True):
            row[: len(pair)] = torch.tensor(pair)
        try:
            with self._student.active():
                hidden = self._student.decode(ids.to(self._student.device), use_cache=False).last_hidden_state
                pooled = hidden[torch.arange(len(pairs), device=hidden.device), (lengths - 1).to(hidden.device)]
                logits = self._student.logits(pooled, self._answers)
        except RuntimeError as error:
            raise _failure(error) from error
        scores = logits[:, 0] if self._answers is None else logits[:, 0] - logits[:, 1]
        return tuple(scores.tolist())


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions sorted by length and packed so that rows x longest stays within `budget`; every batch has at least one.

    >>> batches([5, 1, 9, 2], 10)
    [[1, 3], [0], [2]]
    """
    packed: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if packed and (len(packed[-1]) + 1) * lengths[i] <= budget:
            packed[-1].append(i)
        else:
            packed.append([i])
    return packed


class TransformersGenerator:
    """A `TokenGenerator` with a key-value cache that is kept between sessions for their common prefix."""

    def __init__(self, student: Student, *, name: str = "", reason: str = "") -> None:
        info = engine_info(student, reason)
        self.info = replace(info, model=name or info.model)
        self.context = min(student.checkpoint.context, student.positions)
        self.eos_ids = eos_ids(student.tokenizer)
        self._student = student
        self._session: TransformersSession | None = None

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt's exact text; see `dear.engines.chat.render_chat`."""
        return render_chat(self._student.tokenizer, messages)

    def encode(self, text: str) -> list[int]:
        """Token ids; nothing is added."""
        return encode_plain(self._student.tokenizer, text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text, special tokens left out."""
        return self._student.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def open(self, ids: Sequence[int]) -> TransformersSession:
        """A session on `ids`; the one before it ends, and its cache of the common prefix is taken over."""
        before, self._session = self._session, None
        self._session = TransformersSession(self._student, ids, self.context, before)
        return self._session

    def close(self) -> None:
        """Let go of the weights and the cache."""
        if self._session is not None:
            self._session.hand_over()
        self._session = None
        self._student.close()


class TransformersSession(LazySession):
    """A session on transformers' own key-value cache."""

    CHUNK = 512

    def __init__(self, student: Student, ids: Sequence[int], context: int, before: TransformersSession | None) -> None:
        from transformers import DynamicCache

        self._student = student
        cached = before.hand_over() if before is not None else None
        self._cache: Any = cached[0] if cached else DynamicCache()
        self._hidden: Any = None
        super().__init__(ids, context, cached[1] if cached else ())

    def hand_over(self) -> tuple[Any, list[int]] | None:
        """End the session; its cache and the tokens in it that may be kept, or None."""
        cache, kept = self._cache, self.end()
        self._cache = self._hidden = None
        return (cache, kept) if kept else None

    def _cut(self, length: int) -> None:
        surplus = self._cache.get_seq_length() - length
        if surplus > 0:
            self._cache.crop(-surplus)  # negative: how many to remove; the only form that every release of transformers takes

    @torch.inference_mode()
    def _read(self, ids: list[int]) -> None:
        try:
            with self._student.active():
                rows = torch.tensor([ids], device=self._student.device)
                self._hidden = self._student.decode(rows, past_key_values=self._cache, use_cache=True).last_hidden_state[0, -1]
        except RuntimeError as error:
            raise _failure(error) from error

    @torch.inference_mode()
    def _last(self) -> np.ndarray:
        with self._student.active():
            return self._student.logits(self._hidden).cpu().numpy()


def _failure(error: RuntimeError) -> EngineError:
    if "out of memory" in str(error).lower():
        return EngineError("the device is out of memory: close other programs, choose precision nf4, or use dear-nano")
    return EngineError(f"the model stopped ({str(error).splitlines()[0][:200]}): load it again, or choose device cpu and precision fp32")
