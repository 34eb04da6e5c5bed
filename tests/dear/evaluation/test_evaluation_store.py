"""What is kept is kept whole, across processes and restarts."""

import subprocess
import sys

import pytest

from dear.errors import DearError
from dear.evaluation.store import Store, key_of


def test_values_come_back(tmp_path):
    path = tmp_path / "a" / "answers.sqlite"
    many = {key_of("pair", i): [float(i), "é"] for i in range(1200)}
    Store(path).put(many)
    store = Store(path)
    assert store.get([*many, "unknown"]) == many
    assert store.get([]) == {}


def test_keys_tell_parts_apart():
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of("half \ud800 surrogate")


def test_a_failed_write_leaves_nothing(tmp_path):
    store = Store(tmp_path / "answers.sqlite")
    with pytest.raises(TypeError):
        store.put({"good": 1, "bad": object()})
    assert store.get(["good", "bad"]) == {}


def test_another_process_sees_it(tmp_path):
    path = tmp_path / "answers.sqlite"
    Store(path).put({"k": 1})
    code = (
        "import sys; from pathlib import Path; from dear.evaluation.store import Store;"
        "store = Store(Path(sys.argv[1])); store.put({'l': 2}); print(store.get(['k']))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "{'k': 1}", result.stderr
    assert Store(path).get(["l"]) == {"l": 2}


def test_a_damaged_file_says_what_to_do(tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(DearError, match="delete it"):
        Store(path)


def test_a_fresh_store_knows_only_what_it_was_given_itself(tmp_path):
    path = tmp_path / "answers.sqlite"
    Store(path).put({"a": 1, "b": 2})
    fresh = Store(path, fresh=True)
    assert fresh.get(["a", "b"]) == {}
    fresh.put({"a": 3})
    assert fresh.get(["a", "b"]) == {"a": 3}
    assert Store(path).get(["a", "b"]) == {"a": 3, "b": 2}
