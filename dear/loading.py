"""From a checkpoint of the zoo to a model that is ready: base, adapter, head, tokenizer, precision.

Whole checkpoints, LoRA adapters merged into their base, and LoRA adapters kept apart on a 4-bit base all end as one `Student`:
a decoder that gives hidden states and a head that reads them. Only safetensors are read and no code of a checkpoint is run.
"""

from __future__ import annotations

import gc
import logging
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dear import zoo
from dear.embedded import SHA256 as EMBEDDED_SHA256
from dear.embedded import embedded_base
from dear.errors import BadInput, CheckpointError, MissingDependency
from dear.weights import base_digest, check_score, check_weights, fetch, head_of, weight_files

__all__ = ["Student", "embedded_base", "load_causal", "load_sequence_classifier", "load_tokenizer"]

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "nf4"]
PRECISIONS = ("fp32", "bf16", "nf4")
NOT_IN_NF4 = ("lm_head", "score")  # layers that stay as they are
MERGE_IN_FP32_BELOW = 2_000_000_000  # bytes of the base: smaller ones are merged in fp32 and rounded once


@dataclass(eq=False)
class _Host:
    """A model in memory, which several adapters may share; one forward pass at a time, since adapters are switched on it."""

    model: Any
    lock: threading.RLock = field(default_factory=threading.RLock)
    adapters: dict[str, tuple[str, Any]] = field(default_factory=dict)  # folder -> name on the model, score weight


@dataclass
class Student:
    """A loaded model for one stage. `head` is "score" (one logit a text) or "vocabulary" (a language model)."""

    checkpoint: zoo.Checkpoint
    tokenizer: Any
    head: Literal["score", "vocabulary"]
    precision: str
    device: str
    trained: bool  # False: the bare base
    notes: tuple[str, ...]
    _host: _Host | None
    _decoder: Any
    _head: Any
    _adapter: str | None = None  # the adapter's name on a shared model; None where it is merged or there is none

    @contextmanager
    def active(self) -> Iterator[None]:
        """Hold the model with this student's adapter switched on."""
        if self._host is None:
            raise CheckpointError(f"{self.checkpoint.name} is closed: load it again")
        with self._host.lock:
            if self._adapter is not None and self._host.model.active_adapter != self._adapter:
                self._host.model.set_adapter(self._adapter)
            yield

    def decode(self, ids: Any, **options: Any) -> Any:
        """The decoder's output for token ids of shape (B, T): `last_hidden_state` (B, T, hidden) and, if asked for, the cache."""
        return self._decoder(input_ids=ids, **options)

    @property
    def positions(self) -> int:
        """How many tokens the model was made to read at once."""
        return int(self._decoder.config.max_position_embeddings)

    def logits(self, hidden: Any, rows: list[int] | None = None) -> Any:
        """The head's output in float32 for hidden states (…, hidden): (…, 1) scores, or (…, vocabulary) logits, or those of `rows`.

        Scores and single rows are computed in float32 too: in bf16 the step between neighbouring logits is an eighth.
        """
        if self.head == "vocabulary" and rows is None:
            return self._head(hidden).float()
        weight = self._head.weight if rows is None else self._head.weight[rows]
        return hidden.float() @ weight.float().T

    def save(self, folder: Path) -> None:
        """Write a merged model and its tokenizer as safetensors; raises `BadInput` where the adapter is kept apart."""
        if self._host is None or self._adapter is not None:
            raise BadInput(f"{self.checkpoint.name} is not merged: load it in fp32 or bf16 to save it whole")
        self._host.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)

    def close(self) -> None:
        """Let go of the weights; a shared base stays as long as another student holds it."""
        self._host = self._decoder = self._head = None
        gc.collect()


def load_sequence_classifier(checkpoint: zoo.Checkpoint, *, precision: Precision = "fp32", device: str = "cpu") -> Student:
    """A student that scores: with a trained score head, or, for a bare language model, zero-shot over its vocabulary.

    Raises `CheckpointError` when files are absent, truncated, or an adapter sits on another base than it was trained on.
    """
    return _load(checkpoint, precision, device, want="score")


def load_causal(checkpoint: zoo.Checkpoint, *, precision: Precision = "fp32", device: str = "cpu") -> Student:
    """A student that writes; raises `CheckpointError` as above, and for a checkpoint whose output layer is a score."""
    return _load(checkpoint, precision, device, want="vocabulary")


def load_tokenizer(folder: Path, *, family: str) -> Any:
    """The checkpoint's fast tokenizer, padding on the right; without a pad token of its own it pads with end-of-text, as published."""
    from transformers import AutoTokenizer

    with _checked(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise CheckpointError(f"{folder}: the tokenizer has neither a pad nor an end-of-text token: add one and save it again")
        tokenizer.pad_token = tokenizer.eos_token
        logger.debug("%s has no pad token: padding with %r, as family %r was trained", folder, tokenizer.eos_token, family)
    return tokenizer


def _load(checkpoint: zoo.Checkpoint, precision: str, device: str, *, want: Literal["score", "vocabulary"]) -> Student:
    if precision not in PRECISIONS:
        raise BadInput(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    folder = fetch(checkpoint.source)
    card = zoo.read_card(folder)
    checkpoint = zoo.as_found(checkpoint, folder)
    is_adapter = (folder / "adapter_config.json").is_file()
    base = base_folder(checkpoint, folder) if is_adapter else folder
    head = head_of(folder)
    if want == "vocabulary" and head == "score":
        raise CheckpointError(f"{checkpoint.name} ends in a score, it cannot write a ranking: use it for the pointwise stage")
    check_weights(base)
    if is_adapter:
        check_weights(folder, stem="adapter_model")
        host, adapter, score = _adapted(folder, base, checkpoint.layers, precision, device)
    else:
        host, adapter, score = _Host(_open(base, head, checkpoint.layers, precision, device)), None, None
    source = folder if (folder / "tokenizer_config.json").is_file() else base
    tokenizer = load_tokenizer(source, family=checkpoint.family)
    inner = host.model.get_base_model() if adapter else host.model
    inner.config.pad_token_id = tokenizer.pad_token_id
    output = score if score is not None else inner.score if head == "score" else inner.get_output_embeddings()
    trained = head == "score" if want == "score" else is_adapter or bool(card) or checkpoint.name in zoo.CHECKPOINTS
    notes = ("no trained head: scored zero-shot by its Yes against its No",) if want == "score" and head != "score" else ()
    where = str(next(inner.parameters()).device)
    return Student(checkpoint, tokenizer, head, precision, where, trained, notes, host, inner.base_model, output, adapter)


def base_folder(checkpoint: zoo.Checkpoint, folder: Path) -> Path:
    """The adapter's base on this disk, checked against the digest in its card and the name in its adapter_config.

    Raises `CheckpointError` where they do not agree.
    """
    card = zoo.read_card(folder)
    base_id = checkpoint.base or str(card.get("base") or "")
    if card.get("base_sha256") == EMBEDDED_SHA256:
        base_id = zoo.EMBEDDED
    if not base_id:
        raise CheckpointError(f"{folder} names no base model: set base_model_name_or_path in its adapter_config.json")
    expected = card.get("base_sha256")
    named = str(zoo.read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "")
    if not expected and checkpoint.hub_id and named != base_id and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", named):
        logger.warning("%s says its base is %s, the table says %s: following the adapter", checkpoint.name, named, base_id)
        base_id = named
    base = fetch(base_id)
    if expected:
        found = EMBEDDED_SHA256 if base_id == zoo.EMBEDDED else base_digest(base)
        if found != expected:
            raise CheckpointError(
                f"{folder} was trained on a base with SHA-256 {str(expected)[:12]}…, {base_id} has {found[:12]}…: use the base it was trained on"
            )
    return base


def _open(folder: Path, head: str, layers: int | None, precision: str, device: str) -> Any:
    """A whole model from a folder, cut to its first `layers`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    with _checked(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if layers is not None:
            if not 1 <= layers <= config.num_hidden_layers:
                raise CheckpointError(f"layers {layers} is outside 1..{config.num_hidden_layers} of {folder}: correct dear.json")
            config.num_hidden_layers = layers
        options: dict[str, Any] = {"config": config, "dtype": _dtype(precision, device), "use_safetensors": True}
        if precision == "nf4":
            options |= {"quantization_config": _nf4(device), "device_map": {"": device}}
        kind = AutoModelForSequenceClassification if head == "score" else AutoModelForCausalLM
        model, report = kind.from_pretrained(folder, trust_remote_code=False, local_files_only=True, output_loading_info=True, **options)
    if report["missing_keys"]:
        raise CheckpointError(f"{folder} lacks {len(report['missing_keys'])} weights, e.g. {sorted(report['missing_keys'])[0]}: download it again")
    if precision != "nf4":
        model = model.to(torch.device(device))
    return model.eval().requires_grad_(False)


def _dtype(precision: str, device: str) -> Any:
    import torch

    if precision == "nf4":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _nf4(device: str) -> Any:
    import importlib.util

    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependency("4-bit NF4 needs bitsandbytes: pip install bitsandbytes, or choose precision bf16")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_dtype("nf4", device),
        llm_int8_skip_modules=list(NOT_IN_NF4),
    )


_bases: weakref.WeakValueDictionary[tuple, _Host] = weakref.WeakValueDictionary()
_bases_lock = threading.Lock()


def _adapted(folder: Path, base: Path, layers: int | None, precision: str, device: str) -> tuple[_Host, str | None, Any]:
    """Base with adapter: merged in fp32 or bf16; kept apart, on a base that adapters share, in NF4. And the score head, if it brings one."""
    if precision == "nf4":
        key = (str(base.resolve()), layers, device)
        with _bases_lock:
            host = _bases.get(key)
            if host is None:
                host = _bases[key] = _Host(_open(base, "vocabulary", layers, precision, device))
            with host.lock:
                if str(folder) not in host.adapters:
                    name = f"adapter{len(host.adapters)}"
                    host.model, weight = _attach(host.model, folder, name)
                    host.adapters[str(folder)] = name, weight
                name, weight = host.adapters[str(folder)]
        return host, name, _score(weight, _dtype(precision, device), device)
    small = sum(path.stat().st_size for path in weight_files(base)) < MERGE_IN_FP32_BELOW
    model, weight = _attach(_open(base, "vocabulary", layers, "fp32" if small else precision, device), folder, "adapter0")
    merged = model.merge_and_unload().to(_dtype(precision, device)).eval().requires_grad_(False)
    return _Host(merged), None, _score(weight, _dtype(precision, device), device)


def _attach(model: Any, folder: Path, name: str) -> tuple[Any, Any]:
    """Put the adapter of a folder on a model under a name; returns the model and the score head's weight, if there is one.

    Every weight must find its place: PEFT by itself only warns, and the rest would stay as it was born.
    """
    from peft import PeftConfig, PeftModel
    from safetensors.torch import load_file

    with _checked(folder):
        config = PeftConfig.from_pretrained(str(folder))
        weights = load_file(str(folder / "adapter_model.safetensors"))
    heads = [key for key in weights if key.endswith("score.weight") and "original_module" not in key]
    needs_head = str(getattr(config.task_type, "value", config.task_type)) == "SEQ_CLS"
    if needs_head and not heads:
        raise CheckpointError(f"{folder} is a pointwise adapter without its score head: save it with modules_to_save=['score']")
    if heads:
        check_score(folder, weights[heads[0]].shape)
    config.modules_to_save, config.task_type, config.inference_mode = None, None, True
    if isinstance(model, PeftModel):
        model.add_adapter(name, config)
    else:
        model = PeftModel(model, config, adapter_name=name)
    _fill(model, {key: value for key, value in weights.items() if "score" not in key.split(".")}, name, folder)
    return model.eval().requires_grad_(False), weights[heads[0]] if heads else None


def _fill(model: Any, weights: dict[str, Any], name: str, folder: Path) -> None:
    """Copy LoRA matrices into their layers, without the model's state dict: asking for that would unpack bitsandbytes' weights."""
    layers = {path: module for path, module in model.get_base_model().named_modules() if name in getattr(module, "lora_A", {})}
    missing, unknown = {f"{path}.{part}" for path in layers for part in ("lora_A", "lora_B")}, []
    for key, value in weights.items():
        place = key.removeprefix("base_model.model.").removesuffix(".weight")
        path, _, part = place.rpartition(".")
        target = getattr(layers[path], part)[name].weight if place in missing else None
        if target is None or target.shape != value.shape:
            unknown.append(place)
        else:
            target.data.copy_(value)
            missing.discard(place)
    if missing or unknown:
        first = (unknown or sorted(missing))[0]
        raise CheckpointError(
            f"{folder} does not fit its base ({len(missing)} of its places stay empty, {len(unknown)} weights have none, e.g. {first})"
        )


def _score(weight: Any, dtype: Any, device: str) -> Any:
    """A score head as a module, from its weight (1, hidden)."""
    import torch

    if weight is None:
        return None
    head = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    head.weight = torch.nn.Parameter(weight.to(device=device, dtype=dtype), requires_grad=False)
    return head


@contextmanager
def _checked(folder: Path) -> Iterator[None]:
    """Turn what the libraries raise on a damaged or foreign checkpoint into one error with a remedy; keep their logs quiet."""
    from safetensors import SafetensorError
    from transformers.utils import logging as library

    verbosity, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()
    library.disable_progress_bar()
    try:
        yield
    except CheckpointError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        first = str(error).strip().split("\n")[0][:300]
        raise CheckpointError(
            f"{folder} cannot be loaded ({type(error).__name__}: {first}): copy the checkpoint again or check its config"
        ) from error
    finally:
        library.set_verbosity(verbosity)
        if bars:
            library.enable_progress_bar()
