"""What `make setup` says when it cannot go on: value, limit and remedy, from the real script in a project of its own."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("dear_setup", ROOT / ".ci" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path):
    """A folder with the real script, Makefile and requirement files, and no environment yet."""
    (tmp_path / ".ci").mkdir()
    for name in (".ci/setup.py", "Makefile", "constraints.txt", "requirements.txt", "requirements-dev.txt", "requirements-nodeps.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(project, *arguments, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE"))}
    command = ["make", "--no-print-directory", "setup", *arguments]
    return subprocess.run(command, cwd=project, env=kept | environment, capture_output=True, text=True, timeout=120, check=False)


def test_no_network(project):
    """The package index cannot be reached: pip's own words are translated, and the log is named."""
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "2"}
    done = make(project, f"PYTHON={sys.executable}", **nowhere)
    assert done.returncode != 0
    assert "check the network" in done.stderr
    assert str(project / ".venv" / "setup.log") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / ".venv" / ".dear-app").exists(), "a set-up that failed must not count as done"


def test_no_python_at_all(project):
    done = make(project, "PYTHON=")
    assert done.returncode != 0
    assert "no Python 3.11 or 3.12 found" in done.stderr
    assert "PYTHON=/path/to/python3.11" in done.stderr


@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_the_wrong_python(script, monkeypatch, capsys, version):
    monkeypatch.setattr(script.sys, "version_info", (*version, 0))
    with pytest.raises(SystemExit):
        script.check_machine()
    assert f"this is Python {version[0]}.{version[1]}; use 3.11 or 3.12" in capsys.readouterr().err


def test_too_little_disk(script, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(script, "PYTHON", str(tmp_path / "none"))
    monkeypatch.setattr(script, "NEED_GB", 10**9)
    with pytest.raises(SystemExit):
        script.check_machine()
    said = capsys.readouterr().err
    assert "GB are free here" in said
    assert "free some space" in said


@pytest.mark.parametrize(
    ("pip_said", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("NewConnectionError: Temporary failure in name resolution", "check the network"),
        ("ERROR: Could not find a version that satisfies torch", "use Python 3.11"),
        ("PermissionError: [Errno 13] Permission denied", "run in a folder you own"),
        ("something new", "read "),
    ],
)
def test_what_pip_says_gets_a_remedy(script, monkeypatch, capsys, tmp_path, pip_said, remedy):
    """The step's real path through `pip()`, with a program that fails in these words standing where pip's interpreter is."""
    failing = tmp_path / "python"
    failing.write_text(f"#!/bin/sh\necho '{pip_said}'\nexit 1\n", encoding="utf-8")
    failing.chmod(0o755)
    monkeypatch.setattr(script, "PYTHON", str(failing))
    monkeypatch.setattr(script, "VENV", str(tmp_path))
    with pytest.raises(SystemExit):
        script.pip("installing torch", ["torch"])
    said = capsys.readouterr().err
    assert "installing torch failed" in said
    assert remedy in said


def test_a_second_setup_does_nothing(script, monkeypatch, capsys, tmp_path):
    venv = tmp_path / ".venv"
    venv.mkdir()
    monkeypatch.setattr(script, "VENV", str(venv))
    monkeypatch.setattr(script, "PYTHON", sys.executable)
    monkeypatch.setattr(script.sys, "argv", ["setup.py"])
    (venv / ".dear-app").write_text(script.stamp_of(script.APP_LISTS), encoding="utf-8")
    script.main()
    assert "already set up" in capsys.readouterr().out
