"""Folders built once: atomic, verified, safe between processes."""

import subprocess
import sys

import pytest

from dear import cache
from dear.errors import CheckpointError


def builder(calls):
    def build(folder):
        calls.append(folder)
        (folder / "sub").mkdir()
        (folder / "sub" / "a.bin").write_bytes(b"x" * 1000)

    return build


def test_a_folder_is_built_once_and_again_for_another_key(tmp_path):
    calls = []
    for key, built in (({"v": "1"}, 1), ({"v": "1"}, 1), ({"v": "2"}, 2)):
        folder = cache.build_once(tmp_path / "f", builder(calls), key=key)
        assert (folder / "sub" / "a.bin").read_bytes() == b"x" * 1000
        assert len(calls) == built


@pytest.mark.parametrize("damage", ["truncate", "tamper", "delete", "marker"])
def test_a_damaged_folder_is_built_again(tmp_path, damage):
    calls = []
    folder = cache.build_once(tmp_path / "f", builder(calls), key={})
    file = folder / "sub" / "a.bin"
    if damage == "truncate":
        file.write_bytes(b"x" * 500)
    elif damage == "tamper":
        file.write_bytes(b"y" * 1000)
    elif damage == "delete":
        file.unlink()
    else:
        (folder / cache.MARKER).write_text("{")
    assert not cache.is_intact(folder, {})
    assert (cache.build_once(folder, builder(calls), key={}) / "sub" / "a.bin").read_bytes() == b"x" * 1000
    assert len(calls) == 2


def test_a_failed_build_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "half").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.build_once(tmp_path / "f", fail, key={})
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".f.dead").mkdir()
    cache.build_once(tmp_path / "f", builder([]), key={})
    assert not (tmp_path / ".f.dead").exists()


def test_a_full_disk_is_said_plainly(tmp_path):
    def full(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"disk is full.*DEAR_CACHE"):
        cache.build_once(tmp_path / "f", full, key={})


def test_processes_at_once_build_once(tmp_path):
    code = (
        "import sys, time, pathlib\nfrom dear.cache import build_once\n"
        "def build(folder):\n    time.sleep(0.5); (folder / 'a').write_text('a'); open(sys.argv[2], 'a').write('built\\n')\n"
        "build_once(pathlib.Path(sys.argv[1]), build, key={'k': '1'})\n"
    )
    log = tmp_path / "log"
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "f"), str(log)]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    assert log.read_text() == "built\n"
    assert cache.is_intact(tmp_path / "f", {"k": "1"})


def test_the_cache_folder_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("DEAR_CACHE", str(tmp_path / "here"))
    assert cache.cache_dir() == tmp_path / "here"
