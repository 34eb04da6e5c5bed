"""From YAML data to typed dataclasses, with one clear error for an unknown key, a wrong type or a value out of range. Pure."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dear.errors import BadInput

T = TypeVar("T")


def convert(cls: type[T], data: Any, path: str) -> T:
    """`data` as an instance of the dataclass `cls`; `path` names where it stands in the recipe ("" at the top)."""
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise BadInput(f"{path or 'recipe'} is {data!r}, expected a section with keys {', '.join(_hints(cls))}")
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise BadInput(_unknown(str(key), list(known), path))
    values = {}
    for key, value in data.items():
        where = f"{path}.{key}" if path else str(key)
        values[key] = _value(_hints(cls)[key], value, where)
        _in_range(values[key], known[key].metadata, where)
    required = [f.name for f in known.values() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise BadInput(f"{path or 'recipe'} lacks {missing[0]!r}: add it")
    return cls(**values)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _value(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return convert(kind, value, path)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in arguments:
            raise BadInput(f"{path} is {value!r}: use one of {', '.join(map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _value(next(a for a in arguments if a is not type(None)), value, path)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise BadInput(f"{path} is {value!r}, expected a list: write [a, b]")
        return tuple(_value(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise BadInput(f"{path} is {value!r}, expected a mapping: write {{name: value}}")
        return {_value(arguments[0], k, path): _value(arguments[1], v, f"{path}.{k}") for k, v in value.items()}
    return _scalar(kind, value, path)


def _scalar(kind: type, value: Any, path: str) -> Any:
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        remedy = ", for none write ''" if kind is str and value is None else ""
        raise BadInput(f"{path} is {value!r} ({type(value).__name__}), expected {kind.__name__}{remedy}")
    if kind is float and not abs(value) < float("inf"):
        raise BadInput(f"{path} is {value!r}: give a finite number")
    return value


def _in_range(value: Any, metadata: Mapping[str, Any], path: str) -> None:
    low, high = metadata.get("low"), metadata.get("high")
    if value is None:
        return
    if low is not None and value < low:
        raise BadInput(f"{path} is {value}, the least is {low:g}: use a larger value")
    if high is not None and value > high:
        raise BadInput(f"{path} is {value}, the most is {high:g}: use a smaller value")


def _unknown(key: str, known: list[str], path: str) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"unknown key {(path + '.' if path else '') + key!r} in the recipe: {hint}"
