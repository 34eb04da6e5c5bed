"""Stage 2 on CPU with ONNX Runtime GenAI: weights in 4 or 8 bits, several times faster at writing than torch.

The graph is built once from base and adapter, in a process of its own, and cached by the content of both.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dear import zoo
from dear.cache import build_once, cache_dir
from dear.embedded import SHA256 as EMBEDDED_SHA256
from dear.engines import EngineInfo, Message
from dear.engines.chat import encode_plain, eos_ids, render_chat
from dear.engines.export import SCRATCH
from dear.engines.fourbit import LAYOUT, keeps_own_bits
from dear.engines.session import LazySession
from dear.errors import EngineError, require
from dear.loading import base_folder, load_tokenizer
from dear.weights import base_digest, check_weights, fetch, head_of

logger = logging.getLogger(__name__)

PRECISIONS = ("int4", "int8")
INSTALL = "onnxruntime-genai onnx-ir onnx"


def export(checkpoint: zoo.Checkpoint, *, precision: str = "int8") -> Path:
    """The folder with the checkpoint's graph, built on the first call (half a minute for dear-nano).

    Raises `CheckpointError` on a damaged checkpoint and `EngineError` when the builder fails.
    """
    if precision not in PRECISIONS:
        raise EngineError(f"the onnx engine knows {' and '.join(PRECISIONS)}, not {precision!r}: choose one of them")
    require("onnxruntime_genai", extra=INSTALL)
    source = fetch(checkpoint.source)
    if head_of(source) != "vocabulary":
        raise EngineError(f"{checkpoint.name} ends in a score: the onnx engine only writes rankings, score with transformers")
    check_weights(source, stem="adapter_model" if (source / "adapter_config.json").is_file() else "model")
    key = {
        "weights": _digest(checkpoint, source),
        "layers": str(checkpoint.layers),
        "precision": precision,
        "builder": version("onnxruntime-genai"),
    }
    if precision == "int4" and keeps_own_bits(checkpoint):
        key["layout"] = LAYOUT
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return build_once(cache_dir() / "onnx" / f"{precision}-{name}", lambda work: _export(checkpoint, precision, work), key=key)


def _digest(checkpoint: zoo.Checkpoint, source: Path) -> str:
    if checkpoint.source == zoo.EMBEDDED:
        return EMBEDDED_SHA256
    if not (source / "adapter_config.json").is_file():
        return base_digest(source)
    base = EMBEDDED_SHA256 if checkpoint.base == zoo.EMBEDDED else base_digest(base_folder(checkpoint, source))
    settings = hashlib.sha256((source / "adapter_config.json").read_bytes()).hexdigest()
    return f"{base}+{base_digest(source, stem='adapter_model')}+{settings}"


def _export(checkpoint: zoo.Checkpoint, precision: str, work: Path) -> None:
    logger.info("building the %s graph of %s once", precision, checkpoint.name)
    what = {
        "name": checkpoint.name,
        "hub_id": checkpoint.hub_id,
        "path": str(checkpoint.path or ""),
        "base": checkpoint.base,
        "layers": checkpoint.layers,
    }
    command = [sys.executable, "-m", "dear.engines.export", json.dumps(what), str(work), precision]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}, check=False)
    shutil.rmtree(work / SCRATCH, ignore_errors=True)
    if done.returncode != 0 or not (work / "model.onnx").is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1][:300]
        raise EngineError(f"the onnx graph of {checkpoint.name} could not be built ({last}): choose engine transformers, or make setup again")


def _config(og: Any, folder: Path) -> Any:
    """The graph's settings with a thread a core: left to itself the runtime takes one on a machine of two (measured: `training/LOG.md`).

    Cores are those this process may use (affinity and a container's quota included); a second thread on the same core would not help.
    """
    import joblib

    config = og.Config(str(folder))
    threads = joblib.cpu_count(only_physical_cores=True)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    return config


class OnnxGenerator:
    """A `TokenGenerator` on ONNX Runtime GenAI; the tokenizer is the base's own, so ids are the same as with transformers."""

    def __init__(self, checkpoint: zoo.Checkpoint, *, precision: str = "int8", name: str = "", reason: str = "") -> None:
        source = fetch(checkpoint.source)
        checkpoint = zoo.as_found(checkpoint, source)
        folder = export(checkpoint, precision=precision)
        og: Any = require("onnxruntime_genai", extra=INSTALL)
        self._tokenizer = load_tokenizer(folder, family=checkpoint.family)
        try:
            self._model = og.Model(_config(og, folder))
        except Exception as error:  # the runtime raises its own kinds, RuntimeError among them
            raise EngineError(f"the onnx graph in {folder} cannot be opened ({error}): delete the folder and run again") from error
        graph = zoo.read_json(folder / "genai_config.json").get("model") or {}
        self.context = min(checkpoint.context, int(graph.get("context_length") or checkpoint.context))  # the runtime refuses more than the graph has
        self.eos_ids = eos_ids(self._tokenizer)
        trained = checkpoint.adapter or checkpoint.name in zoo.CHECKPOINTS or bool(zoo.read_card(source))
        self.info = EngineInfo("onnx", name or checkpoint.name, precision, "cpu", reason, trained, checkpoint.family)
        self._session: OnnxSession | None = None

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt's exact text; see `dear.engines.chat.render_chat`."""
        return render_chat(self._tokenizer, messages)

    def encode(self, text: str) -> list[int]:
        """Token ids; nothing is added."""
        return encode_plain(self._tokenizer, text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text, special tokens left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def open(self, ids: Sequence[int]) -> OnnxSession:
        """A session on `ids`; the one before it ends, and its cache of the common prefix is taken over."""
        if self._model is None:
            raise EngineError(f"{self.info.model} is closed: load it again")
        before, self._session = self._session, None
        self._session = OnnxSession(self._model, ids, self.context, before)
        return self._session

    def close(self) -> None:
        """Release the runtime's memory."""
        if self._session is not None:
            self._session.hand_over()
        self._session = self._model = None
        gc.collect()


class OnnxSession(LazySession):
    """A session on one GenAI generator, cut back and continued in place."""

    CHUNK = 64  # the runtime holds Python's lock while it reads: small chunks let other threads run

    def __init__(self, model: Any, ids: Sequence[int], context: int, before: OnnxSession | None) -> None:
        self._model = model
        cached = before.hand_over() if before is not None else None
        self._generator: Any = cached[0] if cached else None
        super().__init__(ids, context, cached[1] if cached else ())

    def hand_over(self) -> tuple[Any, list[int]] | None:
        """End the session; its generator and the tokens in it that may be kept, or None."""
        generator, kept = self._generator, self.end()
        self._generator = None
        return (generator, kept) if kept else None

    def _cut(self, length: int) -> None:
        if self._generator is None or length == 0:
            self._generator = None  # the old one's memory goes first
            self._generator = self._new()
        elif length < self._generator.token_count():
            self._generator.rewind_to(length)

    def _read(self, ids: list[int]) -> None:
        try:
            self._generator.append_tokens(ids)
        except Exception as error:  # the runtime raises its own kinds
            raise EngineError(f"the onnx engine stopped ({str(error).splitlines()[0][:200]}): load the model again") from error

    def _last(self) -> np.ndarray:
        return np.asarray(self._generator.get_logits(), dtype=np.float32)[0, -1]

    def _new(self) -> Any:
        og: Any = require("onnxruntime_genai", extra=INSTALL)
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=self._context, do_sample=False, past_present_share_buffer=True)
        return og.Generator(self._model, params)
