"""Work of a model in a thread of its own, so that Stop answers at once whatever the model is busy with."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dear.errors import DearError
from demo import limits

if TYPE_CHECKING:
    from demo.resources import Resources
    from demo.session import Ticket

T = TypeVar("T")
_END = object()


@dataclass(frozen=True, slots=True)
class Waiting:
    """The work has not begun; `words` say what it waits for."""

    words: str


class Stopped(DearError):
    """The visitor, a newer run or the deadline ended the work; the text says which."""


def worked(resources: Resources, keys: Iterable[str], make: Callable[[], Iterator[T]], ticket: Ticket) -> Iterator[T | Waiting]:
    """Wait for the parts named by `keys` and for the model, then what `make()` yields; raises `Stopped` once the ticket is ended.

    What takes longer than `DEADLINE_S`, waiting and work each, ends the ticket.
    """
    if not (yield from _told(awaited(resources, keys, ticket), ticket)):
        raise Stopped(ticket.why)
    began = time.monotonic()
    for item in pumped(make, ticket, resources.model_lock):
        _watch(began, ticket)
        _go_on(ticket)
        if item is not None:
            yield item
    _go_on(ticket)


def _told(waits: Generator[str, None, bool], ticket: Ticket) -> Generator[Waiting, None, bool]:
    """What is waited for, each thing once; returns what `waits` does."""
    began, last = time.monotonic(), ""
    while True:
        try:
            words = next(waits)
        except StopIteration as end:
            return end.value
        _watch(began, ticket)
        if words != last:
            last = words
            yield Waiting(words)


def _watch(began: float, ticket: Ticket) -> None:
    if time.monotonic() - began > limits.DEADLINE_S:
        ticket.end(f"This took longer than {limits.DEADLINE_S:.0f} seconds and was ended: ask for fewer candidates.")


def _go_on(ticket: Ticket) -> None:
    if ticket.stop.is_set():
        raise Stopped(ticket.why)


def pumped(make: Callable[[], Iterator[T]], ticket: Ticket, lock: threading.Lock) -> Iterator[T | None]:
    """What `make()` yields, made in a thread; None whenever `UPDATE_S` passes without anything. Raises what the thread raised.

    `lock` is held on entry and given back once the model rests, which is soon after the ticket is stopped.
    """
    out: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # In the caller's context: a ZeroGPU Space finds the visitor's request, and so the quota, there.
    threading.Thread(target=copy_context().run, args=(_pump, make, ticket, lock, out), name="run", daemon=True).start()
    while True:
        try:
            item = out.get(timeout=limits.UPDATE_S)
        except queue.Empty:
            yield None
            continue
        if isinstance(item, Exception):
            raise item
        if item is _END:
            return
        yield item


def _pump(make: Callable[[], Iterator[Any]], ticket: Ticket, lock: threading.Lock, out: queue.SimpleQueue[Any]) -> None:
    items: Any = None
    try:
        items = make()
        for item in items:
            if ticket.stop.is_set():
                break
            out.put(item)
        out.put(_END)
    except Exception as error:
        out.put(error)
    finally:
        try:
            if items is not None:
                items.close()
        finally:
            lock.release()
            ticket.idle.set()


def awaited(resources: Resources, keys: Iterable[str], ticket: Ticket) -> Generator[str, None, bool]:
    """Words for what is waited for, until the parts are there or have failed and the model is this run's.

    Returns True with `resources.model_lock` held, for `pumped` to give back; False without it when the ticket was ended.
    """
    for key in keys:
        resources.want(key)
        while (part := resources.part(key)).state in ("waiting", "loading"):
            if ticket.stop.wait(0.2):
                return False
            yield f"Waiting for: {part.title} – {part.detail}."
    while not resources.model_lock.acquire(timeout=0.25):
        if ticket.stop.is_set():
            return False
        yield "The model is finishing another run."
    if ticket.stop.is_set():
        resources.model_lock.release()
        return False
    return True
