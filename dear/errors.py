"""Typed errors. Each message names the value, the limit and the remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class DearError(Exception):
    """Base of every error this project raises on purpose; its text is fit to show to a user."""


class BadInput(DearError, ValueError):
    """A query, passage, file or option that cannot be used as given."""


class UnknownModel(BadInput):
    """A model name that is neither in the zoo, nor a local folder, nor shaped like a hub id."""


class MissingDependency(DearError, ImportError):
    """An optional package is absent; the message gives the command that installs it."""


class CheckpointError(DearError):
    """A checkpoint that is absent, truncated, or does not belong to the base it is put on."""


class IndexFailure(DearError):
    """A search index that cannot be built or read."""


class EngineError(DearError):
    """A model engine that failed to start or stopped answering."""


def require(module: str, *, extra: str) -> object:
    """Import `module`, or raise `MissingDependency` naming the command that brings it.

    >>> require("json", extra="x").__name__
    'json'
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(f"{module!r} is needed here and cannot be imported ({error}): pip install {extra}") from error


def run_command_line(app: Callable[[], object]) -> None:
    """Run a command line: errors made for people are printed without a traceback and end it with exit code 2.

    A reader that went away, as `head` does, ends it with 0.
    """
    try:
        app()
    except DearError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
