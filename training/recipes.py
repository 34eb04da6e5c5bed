"""A recipe: every number of a training run, as nested frozen dataclasses read from YAML.

`load("nano-cpu", ["pointwise.seed=1"])` reads a shipped recipe or a file, applies dotted overrides and checks names, types
and ranges; `check(recipe, "pointwise")` checks data and base on this disk. Both raise one `BadInput` before any compute.
The defaults are the paper's settings (arXiv 2508.16998, section 4).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from dear import zoo
from dear.errors import BadInput
from training.recipe_values import convert

SHIPPED = Path(__file__).parent / "recipes"
FILE = "recipe.yaml"
ATTENTION_AND_MLP = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

Precision = Literal["auto", "fp32", "bf16"]
Attention = Literal["sdpa", "eager"]
Scheduler = Literal["linear", "cosine", "constant", "constant_with_warmup"]


def number(default: Any, low: float | None = None, high: float | None = None) -> Any:
    """A field whose value lies in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Model:
    """The base both adapters sit on. `base` is the embedded one, a hub id or a folder; `base_sha256` pins it ("" = whatever is there)."""

    base: str = zoo.EMBEDDED
    base_sha256: str = ""


@dataclass(frozen=True)
class Data:
    """Where labelled data lies: folders of corpus.jsonl(.gz), queries.jsonl(.gz), qrels.tsv under `root`."""

    root: str = "data"
    train: Mapping[str, int] = field(default_factory=dict)  # set name -> at most so many queries (0 = all)
    text: tuple[str, ...] = ()  # folders of plain passages, distractors
    dev: tuple[str, ...] = ()  # tuned on by hand; for the record, no command reads them
    test: tuple[str, ...] = ()  # looked at by the leakage check only
    teaching: bool = True  # the bundled corpus' train split too
    practice: bool = False  # the practice topics' train split too (training/practice)
    judged: bool = False  # the graded lists too (training/judged)

    @property
    def folder(self) -> Path:
        """Where the data lies: the environment's `DEAR_DATA`, else `root`; a saved recipe so never names a machine's folders."""
        return Path(os.environ.get("DEAR_DATA") or self.root)


@dataclass(frozen=True)
class Mining:
    """How groups are made and cleaned (see `training.mining`)."""

    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    positives: int = number(1, 1)
    judged: int = number(3, 0)  # passages labelled 0
    pool: int = number(32, 2)  # candidates the teacher scores
    depth: int = number(100, 1)  # ranks that mined passages are drawn from
    top: int = number(8, 0)  # first ranks that are always in
    words: int = number(220, 10)
    overlap: float = number(0.3, 0, 1)
    ratio: float = number(0.95, 0)  # an unlabelled passage above this share of the positive's teacher score is dropped
    size: int = number(16, 2)  # passages a group keeps, once the teacher has scored it or, where no teacher follows, at once
    hardest: bool = False  # those negatives that the teacher scores highest, instead of the first of the shuffled ones
    excerpts: float = number(0.0, 0, 1)  # share of groups whose passages are cut to the sentences nearest the query
    excerpt_words: int = number(50, 5)
    seed: int = 13
    out: str = "out/groups.jsonl.gz"  # before the teacher


@dataclass(frozen=True)
class Teacher:
    """Who writes the teacher's column: `minilm`, `bi-encoder:ID`, `cross-encoder:ID`, or a pointwise model of the zoo (see `training.teacher`).

    `bm25` adds that many times BM25's score: a bi-encoder misses words that must match. Where `grades` is not 0, groups whose passages
    are all judged (teaching corpus, practice topics) get that many times the grade instead: no model is asked what their writer knows.
    """

    model: str = "llama2-13b-rankllama-teacher"
    bm25: float = number(0.0, 0)
    grades: float = number(0.0, 0)
    engine: str = "auto"
    precision: str = "auto"  # of a model of the zoo; auto is NF4 for a large one on a GPU
    out: str = "out/groups-teacher.jsonl.gz"


@dataclass(frozen=True)
class Mix:
    """A further piece of stage 1 on lists that are graded throughout: how many of each kind (0 = none, -1 = all; see `training.mix`)."""

    questions: int = number(0, -1)  # judged lists of bare questions
    sets: int = number(0, -1)  # of labelled sets' questions
    written: int = number(0, -1)  # of queries written for passages of the labelled sets
    web: int = number(0, -1)  # of queries as typed into a search engine, written for plain texts
    practice: int = number(0, -1)  # of the practice topics, those about news apart
    news: int = number(0, -1)
    teaching: int = number(0, -1)
    without: tuple[str, ...] = ()  # files of groups that earlier pieces read
    size: int = number(12, 2)  # passages a list keeps
    words: int = number(80, 1)  # of a passage, nearest the query; judged lists were graded by 80
    similarity: float = number(0.0, 0)  # times MiniLM's standard score within the list, added to the teacher's in lists of people's passages
    gapped: bool = False  # a passage that answers comes again without its answer, where that is known; one more than `size`
    dev_lists: int = number(40, 1)  # of each kind in dev_out
    seed: int = 0
    out: str = "out/mix.jsonl.gz"
    dev_out: str = ""  # lists of the dev split, for pointwise.dev


@dataclass(frozen=True)
class Pointwise:
    """Stage 1: LoRA and a score head by CE + RankNet + KL. `layers` keeps the first layers of the base (null = all)."""

    train: str = "out/groups-teacher.jsonl.gz"
    dev: str = ""
    start: str = ""  # a folder with an adapter of the same shape to go on from ("": fresh LoRA and head)
    layers: int | None = number(None, 1)
    lora_rank: int = number(32, 1)
    lora_alpha: int = number(64, 1)
    lora_dropout: float = number(0.1, 0, 0.9)
    lora_targets: tuple[str, ...] = ATTENTION_AND_MLP
    learning_rate: float = number(1e-4, 0)
    epochs: float = number(2.0, 0)
    max_steps: int = number(-1, -1)  # -1: by epochs
    groups_per_step: int = number(4, 1)  # groups a device reads at once
    gradient_accumulation: int = number(1, 1)
    q_len: int = number(32, 4)
    p_len: int = number(196, 8)
    excerpt: int = number(0, 0)  # words of what is read of a long passage afterwards (0: its head); training reads what the teacher scored
    untitled: float = number(0.0, 0, 1)  # share of groups that training reads without their passages' titles
    planted: float = number(0.0, 0, 1)  # share of groups in which a passage of no use begins with an order to rank it first
    rounded: float = number(0.0, 0, 1)  # share of the steps that read the base as NF4 rounds it, so that the adapter serves both
    cross_entropy: float = number(0.1, 0)
    ranknet: float = number(0.1, 0)
    kl: float = number(0.9, 0)
    temperature: float = number(2.0, 1e-3)
    warmup_ratio: float = number(0.1, 0, 0.99)
    scheduler: Scheduler = "linear"
    weight_decay: float = number(0.0, 0)
    max_grad_norm: float = number(1.0, 0)
    gradient_checkpointing: bool = False
    seed: int = 0
    precision: Precision = "auto"
    attention: Attention = "sdpa"  # on a CPU, below some 256 tokens, eager is the faster
    compile: bool = False  # torch.compile, shapes dynamic: minutes once, then faster steps
    log_steps: int = number(10, 1)
    save_steps: int = number(200, 1)
    eval_steps: int = number(200, 1)


@dataclass(frozen=True)
class Cot:
    """Chain-of-thought rows: rendered from written rationales, cut from labelled data, or generated by a teacher."""

    format: Literal["nano", "dear"] = "dear"  # the prompt family and the answer that goes with it
    split: str = "train"
    rows: int = number(20_000, 0)  # from the teaching corpus' rationales
    quoted_rows: int = number(0, 0)  # mechanically from groups with a gold passage (`groups`), quotes only
    groups: str = ""
    min_k: int = number(3, 2, 20)
    max_k: int = number(20, 2, 20)
    distractors: float = number(0.3, 0, 1)  # share of a row's passages that come from other topics
    empty: float = number(0.03, 0, 1)  # share of rows in which no passage helps
    fast: float = number(0.0, 0, 1)  # share of rows that are a ranking without reasoning
    ordered: float = number(0.0, 0, 1)  # share of rows whose passages come as an imperfect first stage ranks them
    out: str = "out/cot.jsonl"
    dev_out: str = "out/cot-dev.jsonl"
    dev_rows: int = number(200, 0)
    ngram: int = number(8, 3)  # words in a row that count as leaked test text
    seed: int = 0
    model: str = "gpt-4o"  # the teacher of `cot generate`
    base_url: str = "https://api.openai.com/v1"
    max_tokens: int = number(1200, 16)
    concurrency: int = number(8, 1, 256)
    attempts: int = number(3, 1, 20)
    price_in: float = number(2.5, 0)  # US dollars a million tokens
    price_out: float = number(10.0, 0)
    generated: str = "out/cot-generated.jsonl"


@dataclass(frozen=True)
class Listwise:
    """Stage 2: a second LoRA on the same base, loss on the answer alone."""

    train: str = "out/cot.jsonl"
    dev: str = ""
    start: str = ""
    prompt: Literal["nano", "dear"] = "dear"
    layers: int | None = number(None, 1)
    lora_rank: int = number(16, 1)
    lora_alpha: int = number(32, 1)
    lora_dropout: float = number(0.1, 0, 0.9)
    lora_targets: tuple[str, ...] = ATTENTION_AND_MLP
    learning_rate: float = number(1e-4, 0)
    epochs: float = number(2.0, 0)
    max_steps: int = number(-1, -1)
    rows_per_step: int = number(1, 1)
    gradient_accumulation: int = number(16, 1)
    max_length: int = number(4096, 64)  # tokens of prompt and answer; longer rows are left out and counted
    warmup_ratio: float = number(0.1, 0, 0.99)
    scheduler: Scheduler = "cosine"
    weight_decay: float = number(0.0, 0)
    max_grad_norm: float = number(1.0, 0)
    gradient_checkpointing: bool = True
    quantise: Literal["none", "nf4"] = "nf4"
    rounded: float = number(0.0, 0, 1)  # share of the steps that read the base as NF4 rounds it, so that the adapter serves both; needs quantise none
    seed: int = 0
    precision: Precision = "auto"
    attention: Attention = "sdpa"  # on a CPU, below some 256 tokens, eager is the faster
    compile: bool = False  # torch.compile, shapes dynamic: minutes once, then faster steps
    log_steps: int = number(10, 1)
    save_steps: int = number(100, 1)
    eval_steps: int = number(100, 1)


@dataclass(frozen=True)
class Output:
    """Where weights go; a stage writes its own folder (`pointwise/`, `listwise/`) below."""

    folder: str = "out/model"
    keep: int = number(2, 1)  # checkpoints kept for resuming
    dtype: Literal["fp32", "fp16", "bf16"] = "fp32"  # of the saved adapter
    log_to: Literal["none", "tensorboard", "trackio"] = "none"


@dataclass(frozen=True)
class Recipe:
    """All of it."""

    name: str
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    mining: Mining = field(default_factory=Mining)
    teacher: Teacher = field(default_factory=Teacher)
    mix: Mix = field(default_factory=Mix)
    pointwise: Pointwise = field(default_factory=Pointwise)
    cot: Cot = field(default_factory=Cot)
    listwise: Listwise = field(default_factory=Listwise)
    output: Output = field(default_factory=Output)

    def folder(self, stage: str) -> Path:
        """Where the weights of a stage go."""
        return Path(self.output.folder) / stage


def load(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a shipped name or a YAML file with `section.key=value` overrides.

    Raises `BadInput` naming the key on an unknown key, a wrong type or a value out of its range.

    >>> load("nano-cpu", ["pointwise.max_steps=3"]).pointwise.max_steps
    3
    """
    path = _find(source)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"recipe {path} cannot be read as YAML ({str(error).splitlines()[0]}): correct the file") from error
    if not isinstance(data, dict):
        raise BadInput(f"recipe {path} is not a mapping of sections: start from one in {SHIPPED.name}/")
    data.setdefault("name", path.stem)
    for override in overrides:
        _override(data, override)
    recipe = convert(Recipe, data, "")
    if recipe.cot.min_k > recipe.cot.max_k:
        raise BadInput(f"cot.min_k {recipe.cot.min_k} exceeds cot.max_k {recipe.cot.max_k}: use a smaller min_k")
    return recipe


def names() -> list[str]:
    """The shipped recipes."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def as_dict(recipe: Any) -> dict[str, Any]:
    """A recipe (or a section) as plain data, every default written out."""
    plain = {}
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        if dataclasses.is_dataclass(value):
            value = as_dict(value)
        plain[f.name] = list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
    return plain


def save(recipe: Recipe, folder: Path | str) -> Path:
    """Write the resolved recipe beside the weights, so that `load(folder / "recipe.yaml")` gives the same recipe."""
    path = Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
    return path


def check(recipe: Recipe, stage: Literal["pointwise", "listwise", "base"]) -> Path:
    """Check before any compute that the base is the pinned one and the stage's data is there; return the base's folder.

    Raises `BadInput` with what is missing and how to make it.
    """
    from dear.errors import DearError

    if stage != "base":
        section = getattr(recipe, stage)
        made_by = {"pointwise": "mine, then teacher` or `mix", "listwise": "cot"}[stage]
        for key in ("train", "dev"):
            value = getattr(section, key)
            if (key == "train" or value) and not Path(value or ".").is_file():
                remedy = f"make it with `python -m training {made_by}`, or set {stage}.{key}=FILE"
                if (stage, key) == ("pointwise", "dev"):
                    remedy = "make it with `python -m training mix` (mix.dev_out), give groups of queries that are not trained on, or leave it empty"
                raise BadInput(f"{stage}.{key} {value!r} does not exist: {remedy}")
        # a loss that cannot be computed is found before the model is loaded
        if stage == "pointwise" and not (section.cross_entropy or section.ranknet or section.kl):
            raise BadInput("every loss weight of pointwise is 0: give cross_entropy, ranknet or kl a weight")
        if stage == "listwise" and section.rounded and section.quantise == "nf4":
            said = f"listwise.rounded is {section.rounded:g} beside listwise.quantise nf4, which rounds every step"
            raise BadInput(f"{said}: set rounded to 0, or quantise to none")
    try:
        return check_base(recipe.model)
    except BadInput:
        raise
    except DearError as error:
        raise BadInput(f"model.base: {error}") from error


def check_base(model: Model) -> Path:
    """The base's folder, its digest compared with the recipe's; raises `BadInput` when they differ."""
    from dear.weights import fetch

    folder = fetch(model.base)
    if model.base_sha256:
        found = digest(model.base)
        if found != model.base_sha256:
            raise BadInput(f"model.base_sha256 is {model.base_sha256[:12]}…, {model.base} has {found[:12]}…: use the base the recipe names")
    return folder


def digest(base: str) -> str:
    """The SHA-256 that `dear.json` names a base by: of the embedded file it was converted from, else of its weights."""
    from dear.embedded import SHA256
    from dear.weights import base_digest, fetch

    return SHA256 if base == zoo.EMBEDDED else base_digest(fetch(base))


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{source}.yaml"
    if shipped.is_file():
        return shipped
    raise BadInput(f"recipe {str(source)!r} is neither a file nor one of {', '.join(names())}: give one of them")


def _override(data: dict[str, Any], text: str) -> None:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise BadInput(f"override {text!r} has no '=': write section.key=value, for instance pointwise.max_steps=100")
    *sections, last = key.strip().split(".")
    place = data
    for section in sections:
        inner = place.get(section)
        if inner is None:
            inner = place[section] = {}
        if not isinstance(inner, dict):
            raise BadInput(f"override {key.strip()!r}: {section!r} is a value, not a section")
        place = inner
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise BadInput(f"override {text!r}: the value is not YAML, quote it") from error
