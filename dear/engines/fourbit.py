"""The embedded student's graph in the 4 bits of its base file, the adapter beside it: nothing is quantised a second time.

The base comes as Q4_1: blocks of 32 weights w = d c + m, with codes c of 4 bits. Merging an adapter into it and quantising the sum
again costs a model this small much of what it can do. So the codes stay. ONNX Runtime's fast kernel computes d (c - z) with a whole
zero point z; with z = round(-m / d) the rest, e = m + d z, is one number a block and meets the sum of that block's inputs. For a
matrix W of N x K with K / 32 blocks a row, and the adapter's scaled B A beside it (LoRA, arXiv 2106.09685):

    (W + s B A) x  =  kernel(x) + E S x + s B A x  =  kernel(x) + R (P x),    P = [A; S],  R = [s B, E]

where S sums the inputs of each block. P and R stay in float32. The embedding, which is also the output matrix, stays in the file's 8 bits.
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

LAYOUT = "file's own bits, adapter beside, 1"
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
    nodes: list[Any] = []
    for node in graph.nodes:
        name = re.match(_NODE, node.name)
        if node.op_type == "MatMulNBits" and name:
            nodes += _linear(graph, node, _matrices(name), stored, adapter)
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
    """Blocks as the kernel takes them, and the rest that it cannot hold: codes and zero points packed in bytes, scales, E (rows, blocks)."""

    codes: np.ndarray
    scale: np.ndarray
    zeros: np.ndarray
    rest: np.ndarray


def split(blocks: Blocks) -> Split:
    """Blocks of 4-bit codes apart into whole zero points and what is left of the offset.

    >>> one = Blocks(np.array([[[0, 15] * 16]], np.uint8), np.array([[0.5]], np.float32), np.array([[-3.7]], np.float32), 4)
    >>> apart = split(one)
    >>> int(apart.zeros[0, 0]), round(float(apart.rest[0, 0]), 3), apart.codes.shape
    (7, -0.2, (1, 1, 16))
    """
    scale = np.where(blocks.scale == 0, 1, blocks.scale)
    zeros = np.clip(np.round(-blocks.least / scale), 0, 15).astype(np.uint8)
    padded = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))
    return Split(
        codes=blocks.codes[:, :, 0::2] | (blocks.codes[:, :, 1::2] << 4),
        scale=blocks.scale,
        zeros=padded[:, 0::2] | (padded[:, 1::2] << 4),
        rest=blocks.least + blocks.scale * zeros,
    )


def _matrices(name: re.Match[str]) -> list[str]:
    layer, room, kind = name.groups()
    return [f"model.layers.{layer}.{_ROOMS[room]}.{part}.weight" for part in _PACKED.get(kind, (kind,))]


def _linear(graph: _Graph, node: Any, names: Sequence[str], stored: Mapping[str, Blocks], adapter: Adapter) -> list[Any]:
    """One linear map (or several side by side): the kernel's node with the file's codes, and R (P x) added to what it gives."""
    from onnx import helper

    parts = [split(stored[name]) for name in names]
    codes, scale, zeros, rest = (np.concatenate([getattr(part, field) for part in parts]) for field in ("codes", "scale", "zeros", "rest"))
    graph.check(node.input[1], codes)
    for place, values in zip(node.input[1:3], (codes, scale), strict=False):
        graph.set(place, values)
    graph.set(f"{node.name}/zeros", zeros)
    del node.input[3:]
    node.input.append(f"{node.name}/zeros")
    down, up = _beside(names, [len(part.codes) for part in parts], rest, adapter)
    graph.set(f"{node.name}/P", down)
    graph.set(f"{node.name}/R", up)
    given, result = node.input[0], node.output[0]
    node.output[0] = f"{result}/kernel"
    return [
        node,
        helper.make_node("MatMul", [given, f"{node.name}/P"], [f"{result}/low"], name=f"{node.name}/low"),
        helper.make_node("MatMul", [f"{result}/low", f"{node.name}/R"], [f"{result}/beside"], name=f"{node.name}/beside"),
        helper.make_node("Add", [f"{result}/kernel", f"{result}/beside"], [result], name=f"{node.name}/sum"),
    ]


def _beside(names: Sequence[str], rows: Sequence[int], rest: np.ndarray, adapter: Adapter) -> tuple[np.ndarray, np.ndarray]:
    """P (K, r) and R (r, N), transposed as the graph multiplies from the left."""
    down, up, at = [np.repeat(np.eye(rest.shape[1], dtype=np.float32), BLOCK, axis=0)], [rest.T], 0
    for name, count in zip(names, rows, strict=True):
        if name in adapter:
            a, b = adapter[name]
            wide = np.zeros((len(a), len(rest)), np.float32)
            wide[:, at : at + count] = b.T
            down.append(a.T)
            up.append(wide)
        at += count
    return np.concatenate(down, axis=1), np.concatenate(up)


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
