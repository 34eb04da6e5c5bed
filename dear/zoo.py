"""The table of checkpoints: what is published, what is embedded, and what a name means. Pure data, nothing heavy is imported.

Published weights: huggingface.co/abdoelsayed, collection DeAR-Reranking (arXiv 2508.16998). Every one is a LLaMA.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dear.errors import BadInput, CheckpointError, UnknownModel

OWNER = "abdoelsayed"
EMBEDDED = "embedded:SmolLM2-135M-Instruct"  # the base that comes with the project, see `dear.loading.embedded_base`
NANO = Path(__file__).parent / "checkpoints" / "nano"
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)  # blocks of 64 with 8-bit scales, themselves in blocks of 256 with a float (QLoRA, arXiv 2305.14314)
LORA_RANK = 16  # of the published adapters

Kind = Literal["pointwise", "listwise", "teacher"]


@dataclass(frozen=True, slots=True)
class Base:
    """A LLaMA base by its shape, from which its size follows."""

    id: str
    licence: str
    layers: int
    hidden: int
    kv: int  # width of keys and values together over the heads, each
    ffn: int
    vocabulary: int
    tied: bool  # the output layer is the embedding
    window: int  # positions it was trained for

    def linear(self, layers: int | None = None) -> int:
        """Weights of the layers' linear maps: the part NF4 quantises."""
        each = 2 * self.hidden * (self.hidden + self.kv) + 3 * self.hidden * self.ffn
        return (layers or self.layers) * each

    def parameters(self, *, head: bool, layers: int | None = None) -> int:
        """All weights: with a score head (`head`) in place of the output layer, or as a language model."""
        norms = (2 * (layers or self.layers) + 1) * self.hidden
        embedding = self.vocabulary * self.hidden
        output = self.hidden if head else 0 if self.tied else embedding
        return self.linear(layers) + norms + embedding + output

    def lora(self, rank: int, layers: int | None = None) -> int:
        """Weights of an adapter of this rank on all linear maps of the layers."""
        wide = 2 * (2 * self.hidden) + 2 * (self.hidden + self.kv) + 3 * (self.hidden + self.ffn)
        return (layers or self.layers) * rank * wide


LLAMA_8B = Base("meta-llama/Llama-3.1-8B", "Llama 3.1 Community License", 32, 4096, 1024, 14336, 128256, False, 131072)
LLAMA_3B = Base("meta-llama/Llama-3.2-3B", "Llama 3.2 Community License", 28, 3072, 1024, 8192, 128256, True, 131072)
LLAMA_13B = Base("meta-llama/Llama-2-13b-hf", "Llama 2 Community License", 40, 5120, 5120, 13824, 32000, False, 4096)
SMOL_135M = Base(EMBEDDED, "Apache-2.0", 30, 576, 192, 1536, 49152, True, 8192)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One set of weights for one stage: where it is, what it sits on, and how it is to be read.

    `family` is the prompt family (`dear.prompts`); `q_len` and `p_len` are tokens of the pair's two sides; of a passage
    with more words than `excerpt` that many nearest the query are read (0: its head); `context` is tokens of a listwise prompt and answer together;
    `layers` keeps the first layers of the base (None: all); pooling is always the last real token. Sizes are None where the
    checkpoint is the user's own.
    """

    name: str
    stage: Kind
    hub_id: str = ""
    path: Path | None = None
    base: str | None = None  # None: the checkpoint is whole
    adapter: bool = False
    family: str = "rankllama"
    q_len: int = 32
    p_len: int = 196
    excerpt: int = 0
    context: int = 4096
    pooling: str = "last"
    layers: int | None = None
    licence: str = "see the checkpoint's own"
    parameters: int | None = None
    shape: Base | None = None

    @property
    def source(self) -> str:
        """What to load: the folder or the hub id; the base where there is no adapter."""
        return str(self.path) if self.path else self.hub_id or self.base or ""

    @property
    def bytes_bf16(self) -> int | None:
        """Memory of the weights in bf16: 2 bytes a parameter, an adapter merged in. Cache and activations come on top."""
        return None if self.parameters is None else 2 * self.parameters

    @property
    def bytes_nf4(self) -> int | None:
        """Memory of the weights in NF4 with double quantisation.

        (4 + 8/64 + 32/16384) / 8 bytes for each weight of the layers' linear maps; 2 bytes for all others (embedding, norms,
        head) and for an adapter, which stays apart. Cache and activations come on top.
        """
        if self.parameters is None or self.shape is None:
            return None
        linear = self.shape.linear(self.layers)
        adapter = self.shape.lora(LORA_RANK, self.layers) if self.adapter else 0
        return round(linear * NF4_BITS / 8) + 2 * (self.parameters - linear + adapter)


@dataclass(frozen=True, slots=True)
class Model:
    """What a user chooses: a checkpoint for each stage it can do, and a sentence about it."""

    name: str
    pointwise: Checkpoint | None = None
    listwise: Checkpoint | None = None
    note: str = ""

    def checkpoint(self, stage: str) -> Checkpoint | None:
        """The checkpoint of a stage, or None where the model does not do it."""
        return self.pointwise if stage == "pointwise" else self.listwise if stage == "listwise" else None

    def has(self, stage: str) -> bool:
        """Whether the model does this stage."""
        return self.name == "fake" or (self.name.startswith("openai:") and stage == "listwise") or self.checkpoint(stage) is not None

    def adapter(self, stage: str) -> Path | None:
        """The folder of the stage's trained adapter where it is on this disk; None for the bare base."""
        found = self.checkpoint(stage)
        return found.path if found is not None and found.adapter and found.path is not None and found.path.exists() else None


def _published(name: str, stage: Kind, base: Base, *, adapter: bool) -> Checkpoint:
    listwise = stage == "listwise"
    return Checkpoint(
        name,
        stage,
        hub_id=f"{OWNER}/{name}",
        base=base.id if adapter else None,
        adapter=adapter,
        family="dear" if listwise else "rankllama",
        context=8192 if listwise else 228,
        licence=f"MIT on {base.licence}",
        parameters=base.parameters(head=not listwise),
        shape=base,
    )


def _table() -> dict[str, Checkpoint]:
    found = [_published("llama2-13b-rankllama-teacher", "teacher", LLAMA_13B, adapter=False)]
    for size, base in (("8b", LLAMA_8B), ("3b", LLAMA_3B)):
        for loss in ("ranknet", "ce"):
            found.append(_published(f"dear-{size}-reranker-{loss}-v1", "pointwise", base, adapter=False))
            found.append(_published(f"dear-{size}-reranker-{loss}-lora-v1", "pointwise", base, adapter=True))
    found.append(_published("dear-8b-reranker-listwise-v1", "listwise", LLAMA_8B, adapter=False))
    found.append(_published("dear-8b-reranker-listwise-lora-v1", "listwise", LLAMA_8B, adapter=True))
    return {checkpoint.name: checkpoint for checkpoint in found}


CHECKPOINTS = _table()  # the published ones, by name without owner
NAMES = ("dear-nano", "dear-3b", "dear-8b", *CHECKPOINTS)


def resolve(name: str) -> Model:
    """The model a name means: a bundle, a published checkpoint (owner optional), a local folder, or any hub id.

    Raises `UnknownModel` with the nearest names, and `CheckpointError` for a folder that holds no checkpoint.

    >>> resolve("abdoelsayed/dear-8b-reranker-ce-v1").pointwise.base is None
    True
    """
    name = str(name).strip()
    if name == "fake":
        return Model("fake", note="lexical overlap and a scripted answer, no model")
    if name.startswith("openai:"):
        return Model(name, note="a model on a server: it ranks lists, it gives no pointwise scores")
    short = name.lower().removeprefix(f"{OWNER}/")
    if short in _BUNDLES:
        return _BUNDLES[short]()
    if short in CHECKPOINTS:
        found = CHECKPOINTS[short]
        return Model(found.name, listwise=found) if found.stage == "listwise" else Model(found.name, pointwise=found)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return _local(folder)
    if name.startswith(("/", ".", "~")):
        raise UnknownModel(f"model folder {name!r} does not exist: give a folder that save_pretrained wrote, or a name of the zoo")
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return _hub(name)
    raise UnknownModel(_unknown(name))


def nano() -> Model:
    """The embedded model, with the trained adapters that lie in `checkpoints/nano`; a stage without one runs zero-shot."""
    parts = {stage: _nano(stage) for stage in ("pointwise", "listwise")}
    bare = [stage for stage, part in parts.items() if not part.adapter]
    note = f"zero-shot: no trained adapter for {' and '.join(bare)} yet" if bare else "both stages on SmolLM2-135M-Instruct"
    return Model("dear-nano", parts["pointwise"], parts["listwise"], note)


def _nano(stage: str) -> Checkpoint:
    head = stage == "pointwise"
    bare = Checkpoint(
        f"dear-nano-{stage}",
        "pointwise" if head else "listwise",
        base=EMBEDDED,
        family="rankllama" if head else "nano",
        licence=SMOL_135M.licence,
        parameters=SMOL_135M.parameters(head=False),
        shape=SMOL_135M,
    )
    folder = NANO / stage
    if not (folder / "adapter_config.json").is_file():
        return bare
    card = read_card(folder)
    trained = with_card(replace(bare, path=folder, adapter=True), card)
    return replace(trained, parameters=SMOL_135M.parameters(head=head, layers=trained.layers))


def _three() -> Model:
    return Model("dear-3b", pointwise=CHECKPOINTS["dear-3b-reranker-ranknet-v1"], note="pointwise only: no listwise checkpoint of 3B is published")


def _eight() -> Model:
    return Model(
        "dear-8b",
        CHECKPOINTS["dear-8b-reranker-ranknet-lora-v1"],
        CHECKPOINTS["dear-8b-reranker-listwise-lora-v1"],
        "two adapters on one Llama-3.1-8B, which is gated: accept its licence on the hub and log in",
    )


_BUNDLES = {"dear-nano": nano, "dear-3b": _three, "dear-8b": _eight}


def _local(folder: Path) -> Model:
    parts = {stage: _read_folder(folder / stage, stage) for stage in ("pointwise", "listwise") if (folder / stage).is_dir()}
    if parts:
        return Model(str(folder), parts.get("pointwise"), parts.get("listwise"), "a local folder with a checkpoint a stage")
    found = _read_folder(folder)
    if found.stage == "listwise":  # a language model also scores pairs, zero-shot; an adapter trained for lists does not
        plain = None if found.adapter else replace(found, stage="pointwise", family="rankllama")
        return Model(str(folder), plain, found, "a local language model")
    return Model(str(folder), found, note="a local pointwise checkpoint")


def _hub(name: str) -> Model:
    """A hub id not in the table: which stage it does is known once its config is here, so it is offered for both."""
    pointwise = Checkpoint(name, "pointwise", hub_id=name)
    return Model(name, pointwise, replace(pointwise, stage="listwise", family="nano"), "a hub checkpoint outside the table")


def _read_folder(folder: Path, stage: str | None = None) -> Checkpoint:
    card, config, adapter = read_card(folder), read_json(folder / "config.json"), read_json(folder / "adapter_config.json")
    if not config and not adapter:
        raise CheckpointError(f"{folder} holds neither config.json nor adapter_config.json: give the folder that save_pretrained wrote")
    head = adapter.get("task_type") == "SEQ_CLS" if adapter else any("SequenceClassification" in a for a in config.get("architectures") or ())
    stage = str(card.get("stage") or stage or ("pointwise" if head else "listwise"))
    if stage not in ("pointwise", "listwise", "teacher"):
        raise CheckpointError(f"{folder / 'dear.json'} names stage {stage!r}: use pointwise, listwise or teacher")
    base = card.get("base") or adapter.get("base_model_name_or_path") if adapter else None
    found = Checkpoint(
        str(folder),
        stage,
        path=folder,
        base=base,
        adapter=bool(adapter),
        family="nano" if stage == "listwise" else "rankllama",  # type: ignore[arg-type]
    )
    published = _published_at(folder)
    if published is not None and published.stage == stage and published.adapter == found.adapter:
        as_published = {"family": published.family, "context": published.context, "parameters": published.parameters, "shape": published.shape}
        return with_card(replace(found, **as_published), card)  # type: ignore[arg-type]
    found = with_card(found, card)
    shape = _shape_of(found)
    return found if shape is None else replace(found, shape=shape, parameters=shape.parameters(head=found.stage != "listwise", layers=found.layers))


def _shape_of(checkpoint: Checkpoint) -> Base | None:
    """The shape of a local checkpoint's base, from the zoo or a config.json on this disk; None where there is neither."""
    if checkpoint.adapter:
        if checkpoint.base in (known := {base.id: base for base in (LLAMA_8B, LLAMA_3B, LLAMA_13B, SMOL_135M)}):
            return known[checkpoint.base]
        config = read_json(Path(checkpoint.base or "") / "config.json")
    else:
        config = read_json(Path(checkpoint.source) / "config.json")
    try:
        heads = config["num_attention_heads"]
        kv = config.get("num_key_value_heads", heads) * (config.get("head_dim") or config["hidden_size"] // heads)
        sizes = (config["num_hidden_layers"], config["hidden_size"], kv, config["intermediate_size"], config["vocab_size"])
        tied, window = bool(config.get("tie_word_embeddings")), int(config.get("max_position_embeddings") or 0)
        return Base(checkpoint.base or checkpoint.name, "see the checkpoint's own", *map(int, sizes), tied, window)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None  # of another architecture, or not there


def _published_at(folder: Path) -> Checkpoint | None:
    """The published checkpoint that a folder is a copy of, by its name; a hub cache names the folder above its revisions `models--OWNER--NAME`."""
    names = [folder.name, *(parent.name.rpartition("--")[2] for parent in folder.absolute().parents[:2] if parent.name.startswith("models--"))]
    return next((CHECKPOINTS[name.lower()] for name in names if name.lower() in CHECKPOINTS), None)


def with_card(checkpoint: Checkpoint, card: dict[str, object]) -> Checkpoint:
    """The checkpoint, read as its `dear.json` says."""
    known = {"layers": "layers", "prompt": "family", "q_len": "q_len", "p_len": "p_len", "excerpt": "excerpt", "context": "context"}
    return replace(checkpoint, **{field: card[key] for key, field in known.items() if card.get(key) is not None})


def as_found(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint, now that its files are in `folder`: one from the hub that is not in the table is read as its card says.

    A local folder's card was read when its name was resolved.
    """
    return with_card(checkpoint, read_card(folder)) if checkpoint.hub_id and checkpoint.name not in CHECKPOINTS else checkpoint


def read_card(folder: Path) -> dict[str, object]:
    """`dear.json` beside a checkpoint (empty when absent): base_sha256, base, layers, prompt, q_len, p_len, excerpt, context, stage."""
    return read_json(folder / "dear.json")


def read_json(path: Path) -> dict:
    """The JSON object in a file (empty when the file is absent); raises `CheckpointError` where it cannot be read."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({error}): copy the checkpoint again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not a JSON object: copy the checkpoint again")
    return data


def _unknown(name: str) -> str:
    if not name:
        return f"the model name is empty: use one of {', '.join(NAMES[:3])}, a folder, or a hub id owner/name"
    near: Sequence[str] = difflib.get_close_matches(name.lower().rpartition("/")[2], NAMES, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(NAMES[:3])} and the published checkpoints."
    return f"unknown model {name!r}: {hint} A folder or a hub id (owner/name) works too"


def known(name: str) -> Checkpoint:
    """The published checkpoint of this name; raises `BadInput` where it is not in the table."""
    short = name.lower().removeprefix(f"{OWNER}/")
    if short not in CHECKPOINTS:
        raise BadInput(_unknown(name))
    return CHECKPOINTS[short]
