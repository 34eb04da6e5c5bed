"""Work of a model in a thread of its own, so that Stop answers at once whatever the model is busy with."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from demo import limits

if TYPE_CHECKING:
    from demo.resources import Resources
    from demo.session import Ticket

T = TypeVar("T")
_END = object()


def pumped(make: Callable[[], Iterator[T]], ticket: Ticket, lock: threading.Lock) -> Iterator[T | None]:
    """What `make()` yields, made in a thread; None whenever `UPDATE_S` passes without anything. Raises what the thread raised.

    `lock` is held on entry and given back once the model rests, which is soon after the ticket is stopped.
    """
    out: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_pump, args=(make, ticket, lock, out), name="run", daemon=True).start()
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


def awaited(resources: Resources, keys: Iterator[str] | tuple[str, ...], ticket: Ticket) -> Iterator[str]:
    """Words for what is waited for, until the parts are there or have failed and the model is this run's.

    When it ends without the ticket being stopped, `resources.model_lock` is held, for `pumped` to give back.
    """
    for key in keys:
        resources.want(key)
        while (part := resources.part(key)).state in ("waiting", "loading"):
            if ticket.stop.wait(0.2):
                return
            yield f"Waiting for: {part.title} – {part.detail}."
    while not resources.model_lock.acquire(timeout=0.25):
        if ticket.stop.is_set():
            return
        yield "The model is finishing another run."
    if ticket.stop.is_set():
        resources.model_lock.release()
