"""Read the one GGUF file the project embeds: metadata, and LLaMA weights (F32, F16, Q4_1, Q8_0) as named arrays.

A small reader of its own, since the general one spends half a minute on tables this file does not need.
Format: github.com/ggml-org/ggml, `docs/gguf.md`; block layouts: `ggml-common.h`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dear.errors import CheckpointError

BLOCK = 32
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_Q4_1 = np.dtype([("scale", "<f2"), ("least", "<f2"), ("nibbles", "u1", (BLOCK // 2,))])
_Q8_0 = np.dtype([("scale", "<f2"), ("values", "i1", (BLOCK,))])
_STORED = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 3: _Q4_1, 8: _Q8_0}

_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix as the file stores it, in blocks of 32 along its rows: weight = scale * code + least.

    `codes` (rows, blocks, 32) uint8, `scale` and `least` (rows, blocks) float32; codes of 4 bits run from 0 to 15. A file's 8-bit
    codes are signed; here they start at 0 too, so that `least` is -128 * scale.
    """

    codes: np.ndarray
    scale: np.ndarray
    least: np.ndarray
    bits: int

    def rows(self, order: np.ndarray) -> Blocks:
        """The same with its rows in this order."""
        return Blocks(self.codes[order], self.scale[order], self.least[order], self.bits)


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]  # rows first
    kind: int
    offset: int  # from the start of the file


class GGUF:
    """An open file: `metadata` by key, and `tensors()` under the names transformers gives a LLaMA."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.metadata, self._tensors = self._header()
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise CheckpointError(f"{self.path} cannot be read as GGUF ({error}): the file is damaged, install the base model again") from error

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (name, float32 array), dequantised, attention heads in transformers' order."""
        for tensor in self._tensors:
            values, heads = self._values(tensor), self._heads(tensor)
            yield _name(tensor.name), _interleave_back(values, heads) if heads else values

    def blocks(self) -> Iterator[tuple[str, Blocks]]:
        """Yield (name, the matrix as it is stored) for the quantised ones, attention heads in transformers' order."""
        for tensor in self._tensors:
            raw = self._raw(tensor)
            if raw.dtype not in (_Q4_1, _Q8_0):
                continue
            raw = raw.reshape(tensor.shape[0], -1)
            scale = raw["scale"].astype(np.float32)
            if raw.dtype == _Q4_1:
                found = Blocks(_codes(raw), scale, raw["least"].astype(np.float32), 4)
            else:
                found = Blocks((raw["values"].astype(np.int16) + 128).astype(np.uint8), scale, -128 * scale, 8)
            heads = self._heads(tensor)
            yield _name(tensor.name), found.rows(_interleave_back(np.arange(len(scale))[:, None], heads)[:, 0]) if heads else found

    def _heads(self, tensor: _Tensor) -> int:
        """The number of heads whose rotary order is to be undone; 0 for all but the query's and the key's matrix."""
        counts = {"attn_q": "llama.attention.head_count", "attn_k": "llama.attention.head_count_kv"}
        key = counts.get(tensor.name.removesuffix(".weight").rpartition(".")[2])
        return self.metadata[key] if key else 0

    def _header(self) -> tuple[dict[str, Any], list[_Tensor]]:
        if self._data[:4] != b"GGUF":
            raise ValueError("no GGUF signature")
        _, tensors, entries = struct.unpack_from("<IQQ", self._data, 4)
        at = 24
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            key, at = self._string(at)
            (kind,) = struct.unpack_from("<I", self._data, at)
            metadata[key], at = self._value(kind, at + 4)
        table: list[tuple[str, tuple[int, ...], int, int]] = []
        for _ in range(tensors):
            name, at = self._string(at)
            (rank,) = struct.unpack_from("<I", self._data, at)
            shape = struct.unpack_from(f"<{rank}Q", self._data, at + 4)
            kind, offset = struct.unpack_from("<IQ", self._data, at + 4 + 8 * rank)
            at += 16 + 8 * rank
            table.append((name, tuple(reversed(shape)), kind, offset))
        align = metadata.get("general.alignment", 32)
        start = -(-at // align) * align
        return metadata, [_Tensor(name, shape, kind, start + offset) for name, shape, kind, offset in table]

    def _string(self, at: int) -> tuple[str, int]:
        (length,) = struct.unpack_from("<Q", self._data, at)
        end = at + 8 + length
        return self._data[at + 8 : end].decode(), end

    def _value(self, kind: int, at: int) -> tuple[Any, int]:
        if kind == _STRING:
            return self._string(at)
        if kind != _ARRAY:
            layout = _SCALARS[kind]
            return struct.unpack_from(layout, self._data, at)[0], at + struct.calcsize(layout)
        of, count = struct.unpack_from("<IQ", self._data, at)
        at += 12
        if of in _SCALARS:
            layout = f"<{count}{_SCALARS[of][1]}"
            return list(struct.unpack_from(layout, self._data, at)), at + struct.calcsize(layout)
        items = []
        for _ in range(count):
            item, at = self._value(of, at)
            items.append(item)
        return items, at

    def _raw(self, tensor: _Tensor) -> np.ndarray:
        stored = _STORED.get(tensor.kind)
        if stored is None:
            raise CheckpointError(f"{self.path}: tensor {tensor.name} has GGUF type {tensor.kind}, known are {sorted(_STORED)}: use the pinned file")
        size = int(np.prod(tensor.shape))
        count = size if stored.names is None else size // BLOCK
        if tensor.offset + count * stored.itemsize > len(self._data):
            raise CheckpointError(f"{self.path} ends inside tensor {tensor.name}: the file is truncated, install the base model again")
        return np.frombuffer(self._data, stored, count, tensor.offset)

    def _values(self, tensor: _Tensor) -> np.ndarray:
        raw = self._raw(tensor)
        if raw.dtype == _Q4_1:
            values = _codes(raw).astype(np.float32) * raw["scale"].astype(np.float32)[:, None] + raw["least"].astype(np.float32)[:, None]
        elif raw.dtype == _Q8_0:
            values = raw["values"].astype(np.float32) * raw["scale"].astype(np.float32)[:, None]
        else:
            values = raw.astype(np.float32)
        return values.reshape(tensor.shape)


def _codes(raw: np.ndarray) -> np.ndarray:
    """The 4-bit codes of Q4_1 blocks, (..., 32): the low halves of the 16 bytes first, then the high ones."""
    return np.concatenate([raw["nibbles"] & 15, raw["nibbles"] >> 4], axis=-1)


def _interleave_back(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo GGUF's order of the rotary dimensions: pairs side by side there, halves apart in transformers."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem.startswith("blk."):
        _, layer, part = stem.split(".")
        return f"model.layers.{layer}.{_BLOCK_NAMES[part]}.weight"
    return f"{_NAMES[stem]}.weight"
