"""Decoding and scoring speed of the embedded student."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PAIR_LENGTH = 228  # what the reference pads every pair to (32 + 196)
REFERENCE_BATCH = 64
NEW_TOKENS = 64


def decode(rounds: int) -> dict[str, Any]:
    """Greedy decoding after a listwise prompt of eight passages: onnx int4 and int8 against transformers fp32 and bitsandbytes NF4."""
    from dear import prompts
    from dear.engines.choice import open_generator

    passages = _passages()[:8]
    speeds: dict[str, list[float]] = {}
    prefill: dict[str, list[float]] = {}
    kinds = {
        "onnx int4": ("onnx", "int4"),
        "onnx int8": ("onnx", "int8"),
        "transformers fp32": ("transformers", "fp32"),
        "transformers nf4": ("transformers", "nf4"),
    }
    generators = {name: open_generator("dear-nano", engine=engine, precision=precision) for name, (engine, precision) in kinds.items()}
    messages = prompts.listwise("why is the sky blue", passages, "nano")
    for _ in range(rounds):
        for name, generator in generators.items():
            ids = generator.encode(generator.render(messages))
            generator.open(ids[:1]).logits()  # drop the cache of the round before
            start = time.perf_counter()
            session = generator.open(ids)
            logits = session.logits()
            middle = time.perf_counter()
            for _ in range(NEW_TOKENS):
                session.append([int(np.argmax(logits))])
                logits = session.logits()
            end = time.perf_counter()
            prefill.setdefault(name, []).append((len(ids) - 1) / (middle - start))
            speeds.setdefault(name, []).append(NEW_TOKENS / (end - middle))
    best = {kind: statistics.median(speeds[f"onnx {kind}"]) for kind in ("int4", "int8")}
    rows = [
        {
            "engine": name,
            "decode tokens/s": round(statistics.median(values), 1),
            "int4 is faster by": round(best["int4"] / statistics.median(values), 2),
            "int8 is faster by": round(best["int8"] / statistics.median(values), 2),
            "prefill tokens/s": round(statistics.median(prefill[name])),
        }
        for name, values in speeds.items()
    ]
    return {"what": f"{NEW_TOKENS} tokens after a prompt of {len(ids)} tokens, median of {rounds} interleaved rounds", "rows": rows}


def score(rounds: int) -> dict[str, Any]:
    """Pointwise scoring of 60 candidates: length-sorted batches against padding every pair to 228 as the reference does, in fp32 and bf16."""
    from dear.engines.choice import open_scorer

    query, passages = "why is the sky blue", _passages()[:60]
    texts, titles = [p.text for p in passages], [p.title for p in passages]
    times: dict[str, list[float]] = {}
    chosen = open_scorer("dear-nano")
    scorers = {f"sorted {p}": open_scorer("dear-nano", engine="transformers", precision=p) for p in ("fp32", "bf16")}
    runs: dict[str, Callable[[], Any]] = {name: (lambda s=s: list(s.score(query, texts, titles))) for name, s in scorers.items()}
    runs |= {f"padded to {PAIR_LENGTH} {p}": (lambda s=scorers[f"sorted {p}"]: _padded(s, query, texts, titles)) for p in ("fp32", "bf16")}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times.setdefault(name, []).append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    rows = [
        {
            "way": name,
            "pairs/s": round(len(texts) / seconds, 1),
            "faster than padding": round(median[f"padded to {PAIR_LENGTH} {name.split()[-1]}"] / seconds, 2),
        }
        for name, seconds in median.items()
    ]
    what = (
        f"{len(texts)} pairs, median of {rounds} interleaved rounds; `auto` takes {chosen.info.engine} {chosen.info.precision} ({chosen.info.reason})"
    )
    return {"what": what, "rows": rows}


def _padded(scorer: Any, query: str, texts: list[str], titles: list[str]) -> None:
    """The same student, tokens and head, read the reference's way: every pair padded to the full length, in input order."""
    import torch

    student = scorer._student
    pairs = scorer._encode(query, texts, titles)
    pad = student.tokenizer.pad_token_id
    for start in range(0, len(pairs), REFERENCE_BATCH):
        rows = [ids[:PAIR_LENGTH] + [pad] * (PAIR_LENGTH - len(ids)) for ids in pairs[start : start + REFERENCE_BATCH]]
        last = torch.tensor([min(len(ids), PAIR_LENGTH) - 1 for ids in pairs[start : start + REFERENCE_BATCH]])
        with torch.inference_mode(), student.active():
            hidden = student.decode(torch.tensor(rows), use_cache=False).last_hidden_state
            student.logits(hidden[torch.arange(len(rows)), last]).tolist()


def _passages() -> list[Any]:
    from corpora.registry import open_corpus

    return [hit.passage for hit in open_corpus("teaching").retriever("bm25").search("why is the sky blue and the sea", 100)]
