import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dear.doctor import Check, _guard, report
from dear.errors import MissingDependency

ROOT = Path(__file__).parents[2]


def test_a_report_is_ok_only_when_every_check_is():
    good, bad = Check("a", True, "fine"), Check("b", False, "broken", "mend it")
    assert report([good])["ok"] is True
    found = report([good, bad])
    assert found["ok"] is False
    assert found["checks"][1] == {"name": "b", "ok": False, "detail": "broken", "remedy": "mend it"}


def test_what_is_absent_is_installed_and_not_rebuilt():
    def absent():
        raise MissingDependency("the base is not installed: pip install it")

    def broken():
        raise OSError("bad file: torn")

    assert _guard("student", absent, "rebuild").remedy == "pip install it"
    assert _guard("student", broken, "rebuild").remedy == "rebuild"


@pytest.mark.model
def test_doctor_finds_everything_without_a_system_java(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key not in ("JAVA_HOME", "JVM_PATH")}
    environment["PATH"] = str(tmp_path)
    result = subprocess.run(
        [sys.executable, "-m", "dear", "doctor", "--json"], cwd=ROOT, capture_output=True, text=True, timeout=280, env=environment
    )
    found = json.loads(result.stdout)
    assert found["ok"], found
    assert result.returncode == 0
    assert {"python", "packages", "disk", "engine", "embedded base", "lucene", "student", "teaching corpus"} <= {c["name"] for c in found["checks"]}
    assert "system Java: none" in next(c["detail"] for c in found["checks"] if c["name"] == "lucene")


def test_doctor_names_a_remedy_where_something_is_missing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    result = subprocess.run(
        [sys.executable, "-m", "dear", "doctor", "--json", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "DEAR_CACHE": str(blocked)},
    )
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert result.returncode == 1
    broken = [check for check in found["checks"] if not check["ok"]]
    assert broken
    assert all(check["remedy"] for check in broken)
