"""How the programs log: warnings of ours to stderr, and what our libraries say to developers left out."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings


def start_logging(*, verbose: bool = False) -> None:
    """Log to stderr, warnings and worse; `verbose` adds what is chosen and why, and lets the libraries speak. For entry points only."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if verbose:
        return
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # optional kernels that are absent
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # layers that were cut off on purpose; read when it is imported
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|torch|peft|gradio")


def places(error: BaseException) -> str:
    """Kind and places of an error and of what led to it, for a log that outlives the visit: never its words, which may quote a query.

    >>> try:
    ...     int("my secret")
    ... except ValueError as error:
    ...     "ValueError" in places(error), "secret" in places(error)
    (True, False)
    """
    told, seen = [], set[int]()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        frames = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(following.__traceback__)]
        told.append("\n  ".join([f"{type(following).__name__} at", *(frames or ["no known place"])]))
        following = following.__cause__ or following.__context__
    return "\nafter ".join(told)
