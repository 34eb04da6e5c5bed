"""The embedded student's graph in the 4 bits of its base file, the adapter beside it: nothing is quantised a second time.

The base comes as Q4_1: blocks of 32 weights w = d c + m, with codes c of 4 bits. Merging an adapter into it and quantising the sum
again costs a model this small much of what it can do. So the codes stay. ONNX Runtime's fast kernel computes d (c - z) with a whole
zero point z; with z = round(-m / d) the rest, e = m + d z, is one number a block and meets the sum of that block's inputs. For a
matrix W of N x K with K / 32 blocks a row, and the adapter's scaled B A beside it (LoRA, arXiv 2106.09685):

    (W + s B A) x  =  kernel(x) + E S x + s B A x  =  kernel(x) + R (P x),    P = [A; S],  R = [s B, E]

where S sums the inputs of each block. A step on a CPU costs by the number of its nodes, so R goes into the kernel too, as the sum of two
matrices of 4 bits (the second for what the first leaves over, together within half a percent of a block's largest value), and maps that
read the same x share P: kernel([x, P x, P x]). P stays in float32. The embedding, which is also the output matrix, stays in the file's 8 bits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dear import zoo
from dear.embedded import SHA256 as EMBEDDED_SHA256
from dear.errors import EngineError
from dear.gguf import BLOCK, Blocks

LAYOUT = "file's own bits, adapter beside, 2"
_NODE = re.compile(r"/model/layers\.(\d+)/(attn|mlp)/(\w+)/MatMul")
_ROOMS = {"attn": "self_attn", "mlp": "mlp"}
_PACKED = {"qkv_proj": ("q_proj", "k_proj", "v_proj")}
_HEAD, _EMBEDDING = "/lm_head/MatMul", "/model/embed_tokens/"
_PLAIN = {"bias": "none", "use_dora": False, "use_rslora": False, "fan_in_fan_out": False}  # what an adapter must be to stand beside its base
_EMPTY = ("alpha_pattern", "rank_pattern", "modules_to_save", "layers_to_transform", "target_parameters", "lora_bias")
_TARGETS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

Adapter = Mapping[str, tuple[np.ndarray, np.ndarray]]


def keeps_own_bits(checkpoint: zoo.Checkpoint) -> bool:
    """Whether a listwise checkpoint can be written in its base file's own bits: the embedded base, whole, alone or with a plain LoRA."""
    if checkpoint.layers is not None:
        return False
    if checkpoint.source == zoo.EMBEDDED:
        return True
    folder = Path(checkpoint.source)
    if not (folder / "adapter_config.json").is_file():
        return False
    embedded = checkpoint.base == zoo.EMBEDDED or zoo.read_card(folder).get("base_sha256") == EMBEDDED_SHA256
    config = zoo.read_json(folder / "adapter_config.json")
    plain = all(config.get(key, value) == value for key, value in _PLAIN.items()) and not any(config.get(key) for key in _EMPTY)
    targets = config.get("target_modules")
    return embedded and plain and isinstance(targets, list) and set(targets) <= _TARGETS


def read_adapter(folder: Path) -> Adapter:
    """The adapter's pairs (A, s B) in float32, by the name of the matrix they stand beside."""
    from safetensors.numpy import load_file

    config = zoo.read_json(folder / "adapter_config.json")
    scale = float(config["lora_alpha"]) / float(config["r"])
    tensors = load_file(folder / "adapter_model.safetensors")
    start, end = "base_model.model.", ".lora_A.weight"
    names = [key.removeprefix(start).removesuffix(end) for key in tensors if key.endswith(end)]
    return {
        f"{name}.weight": (
            tensors[f"{start}{name}{end}"].astype(np.float32),
            scale * tensors[f"{start}{name}.lora_B.weight"].astype(np.float32),
        )
        for name in names
    }


def rewrite(folder: Path, stored: Mapping[str, Blocks], adapter: Adapter) -> None:
    """Put the file's codes and the adapter into the int4 graph that the builder left in `folder`, built from the base alone.

    Raises `EngineError` where the graph is not laid out as this was written for.
    """
    import onnx

    model = onnx.load(str(folder / "model.onnx"))
    graph = _Graph(model)
    readers: dict[str, list[Any]] = {}
    for node in graph.nodes:
        if node.op_type == "MatMulNBits" and _NODE.match(node.name):
            readers.setdefault(node.input[0], []).append(node)
    nodes: list[Any] = []
    for node in graph.nodes:
        if node.op_type == "MatMulNBits" and _NODE.match(node.name):
            if node.input[0] in readers:  # else it came with the first that reads the same
                nodes += _group(graph, readers.pop(node.input[0]), stored, adapter)
            continue
        if node.op_type in ("MatMulNBits", "GatherBlockQuantized"):
            _tied(graph, node, stored["model.embed_tokens.weight"])
        nodes.append(node)
    if len(nodes) == len(graph.nodes):
        raise EngineError("the graph's builder names its nodes otherwise than onnxruntime-genai 0.18: choose precision int8, or install that version")
    graph.replace(nodes)
    (folder / "model.onnx.data").unlink(missing_ok=True)
    onnx.save(model, str(folder / "model.onnx"), save_as_external_data=True, location="model.onnx.data")


@dataclass(frozen=True, slots=True)
class Split:
    """Blocks as the kernel takes them, and the rest that it cannot hold: codes (rows, blocks, 32), scales, zero points and E (rows, blocks)."""

    codes: np.ndarray
    scale: np.ndarray
    zeros: np.ndarray
    rest: np.ndarray


def split(blocks: Blocks) -> Split:
    """Blocks of 4-bit codes apart into whole zero points and what is left of the offset.

    >>> one = Blocks(np.array([[[0, 15] * 16]], np.uint8), np.array([[0.5]], np.float32), np.array([[-3.7]], np.float32), 4)
    >>> apart = split(one)
    >>> int(apart.zeros[0, 0]), round(float(apart.rest[0, 0]), 3), apart.codes.shape
    (7, -0.2, (1, 1, 32))
    """
    scale = np.where(blocks.scale == 0, 1, blocks.scale)
    zeros = np.clip(np.round(-blocks.least / scale), 0, 15).astype(np.uint8)
    return Split(blocks.codes, blocks.scale, zeros, rest=blocks.least + blocks.scale * zeros)


def _matrices(node: Any) -> list[str]:
    layer, room, kind = _NODE.findall(node.name)[0]
    return [f"model.layers.{layer}.{_ROOMS[room]}.{part}.weight" for part in _PACKED.get(kind, (kind,))]


def _group(graph: _Graph, nodes: Sequence[Any], stored: Mapping[str, Blocks], adapter: Adapter) -> list[Any]:
    """The linear maps that read one vector: the vector made longer by P x once, then each kernel's node with its codes and R's."""
    from onnx import helper

    given = nodes[0].input[0]
    names = [_matrices(node) for node in nodes]
    down, places = _down([name for some in names for name in some], stored, adapter)
    low, longer = f"{given}/low", f"{given}/longer"
    graph.set(f"{given}/P", down)
    made = [
        helper.make_node("MatMul", [given, f"{given}/P"], [low], name=f"{given}/low"),
        helper.make_node("Concat", [given, low, low], [longer], name=f"{given}/longer", axis=-1),
    ]
    for node, some in zip(nodes, names, strict=True):
        parts = [split(stored[name]) for name in some]
        codes, scale, zeros, rest = (np.concatenate([getattr(part, field) for part in parts]) for field in ("codes", "scale", "zeros", "rest"))
        graph.check(node.input[1], pack(codes))
        rows = [len(part.codes) for part in parts]
        coarse, fine = in_two(_up(some, rows, rest, adapter, places, down.shape[1]))
        graph.set(node.input[1], pack(np.concatenate([codes, coarse.codes, fine.codes], axis=1)))
        graph.set(node.input[2], np.concatenate([scale, coarse.scale, fine.scale], axis=1))
        zeros = np.concatenate([zeros, coarse.zeros, fine.zeros], axis=1)
        graph.set(f"{node.name}/zeros", pack(np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))))
        node.input[:] = [longer, *node.input[1:3], f"{node.name}/zeros"]
        next(attribute for attribute in node.attribute if attribute.name == "K").i += 2 * down.shape[1]
        made.append(node)
    return made


def _down(names: Sequence[str], stored: Mapping[str, Blocks], adapter: Adapter) -> tuple[np.ndarray, dict[str, int]]:
    """P (K, w), transposed as the graph multiplies from the left: every A, then S, each filled up to whole blocks; and where each A begins."""
    places: dict[str, int] = {}
    parts, at = [], 0
    for name in names:
        if name in adapter:
            places[name], at = at, at + len(adapter[name][0])
            parts.append(adapter[name][0].T)
    blocks = stored[names[0]].scale.shape[1]
    sums = np.repeat(np.eye(blocks, dtype=np.float32), BLOCK, axis=0)
    parts += [np.zeros((len(sums), -at % BLOCK), np.float32), sums, np.zeros((len(sums), -blocks % BLOCK), np.float32)]
    return np.concatenate(parts, axis=1), places


def _up(names: Sequence[str], rows: Sequence[int], rest: np.ndarray, adapter: Adapter, places: Mapping[str, int], width: int) -> np.ndarray:
    """R (N, w): s B in its A's places for the rows of its matrix, E in the places of S."""
    wide = np.zeros((len(rest), width), np.float32)
    first = width - rest.shape[1] - (-rest.shape[1] % BLOCK)
    wide[:, first : first + rest.shape[1]] = rest
    at = 0
    for name, count in zip(names, rows, strict=True):
        if name in adapter:
            b = adapter[name][1]
            wide[at : at + count, places[name] : places[name] + b.shape[1]] = b
        at += count
    return wide


def in_two(values: np.ndarray) -> tuple[Split, Split]:
    """A matrix (rows, columns; columns in whole blocks) as the sum of two of 4 bits a value, the second for what the first leaves over.

    >>> coarse, fine = in_two(np.linspace(-1, 1, 32, dtype=np.float32)[None])
    >>> values = sum((part.codes - 8.0) * part.scale[:, :, None] for part in (coarse, fine))
    >>> bool(np.abs(values.reshape(1, 32) - np.linspace(-1, 1, 32)).max() < 0.006)
    True
    """
    left = values.reshape(len(values), -1, BLOCK)
    made = []
    for _ in range(2):
        scale = np.abs(left).max(axis=2) / 7
        codes = np.round(left / np.where(scale == 0, 1, scale)[:, :, None])
        left = left - codes * scale[:, :, None]
        zeros = np.full(scale.shape, 8, np.uint8)
        made.append(Split((codes + 8).astype(np.uint8), scale.astype(np.float32), zeros, np.zeros_like(scale)))
    return made[0], made[1]


def pack(codes: np.ndarray) -> np.ndarray:
    """4-bit values two a byte, the first in the lower half.

    >>> pack(np.array([1, 2, 3, 4], np.uint8)).tolist()
    [33, 67]
    """
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def _tied(graph: _Graph, node: Any, blocks: Blocks) -> None:
    """The embedding and the output matrix, which share their weights: the file's 8 bits in place of the builder's 4."""
    if not node.name.startswith((_HEAD, _EMBEDDING)) or blocks.bits != 8:
        raise EngineError(f"node {node.name} is not known here: choose precision int8, or install onnxruntime-genai 0.18")
    for attribute in node.attribute:
        if attribute.name == "bits":
            attribute.i = 8
    zeros = "embed_tokens/zeros"
    graph.set(zeros, np.full(blocks.scale.shape, 128, np.uint8))
    if node.name.startswith(_HEAD):
        graph.set(node.input[1], blocks.codes)
        graph.set(node.input[2], blocks.scale)
    else:
        graph.reshape(node.input[0], (len(blocks.codes), blocks.codes.shape[1] * BLOCK))
    del node.input[3:]
    node.input.append(zeros)


class _Graph:
    """An ONNX graph whose nodes are replaced together, and whose weights are set by name."""

    def __init__(self, model: Any) -> None:
        self._graph = model.graph
        self._weights = {weight.name: weight for weight in model.graph.initializer}
        self.nodes = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
        self._makers = {node.output[0]: node for node in self.nodes}

    def replace(self, nodes: Sequence[Any]) -> None:
        del self._graph.node[:]
        self._graph.node.extend(nodes)

    def set(self, name: str, values: np.ndarray) -> None:
        """A weight's new values; a new weight where there was none of this name."""
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(np.ascontiguousarray(values), name)
        if name not in self._weights:
            self._graph.initializer.append(tensor)
            self._weights[name] = self._graph.initializer[-1]
        else:
            self._weights[name].CopyFrom(tensor)

    def check(self, name: str, values: np.ndarray) -> None:
        """Raise `EngineError` where the builder's weight has another shape."""
        shape = tuple(self._weights[name].dims)
        if shape != values.shape:
            raise EngineError(f"weight {name} of the graph has shape {shape}, the file's has {values.shape}: choose precision int8")

    def reshape(self, name: str, shape: tuple[int, ...]) -> None:
        """Another target for the Reshape that makes `name`, whose target is a constant of the graph."""
        from onnx import numpy_helper

        target = self._makers[self._makers[name].input[1]]
        target.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array(shape, np.int64)))
