"""What README shows is run as it stands there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def lines(language):
    return [line.split("  #")[0].strip() for kind, text in BLOCKS if kind == language for line in text.splitlines() if line.strip()]


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    shown = {line.split()[1] for line in lines("sh") if line.startswith("make ")}
    assert {"demo", "test"} <= shown <= targets


def test_commands_and_options_exist():
    shown = [shlex.split(line)[3:] for line in lines("sh") if line.startswith("python -m dear ")]
    assert {words[0] for words in shown} >= {"doctor", "search", "rerank", "replay"}
    for command in {words[0] for words in shown}:
        call = [sys.executable, "-m", "dear", command, "--help"]
        page = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=60, env={"COLUMNS": "200", "PATH": ""})
        assert page.returncode == 0, page.stderr
        for option in {word for words in shown if words[0] == command for word in words if word.startswith("--")}:
            assert option in page.stdout, (command, option)


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_front_matter_is_what_spaces_reads():
    data = yaml.safe_load(README.split("---")[1])
    assert data["sdk"] == "gradio"
    assert (ROOT / data["app_file"]).exists()
    pinned = re.search(r"^gradio==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert data["sdk_version"] == pinned[1]


@pytest.mark.model
def test_the_library_example_runs():
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr
    rows = result.stdout.strip().splitlines()
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert all("pointwise" in row and "listwise" in row for row in rows)


def test_every_figure_of_the_tables_is_what_the_command_printed():
    """Each number of README's result tables, as far as it is rounded there, is in the lines that `evaluate --json` gave."""
    printed = set()

    def collect(value):
        if isinstance(value, dict):
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)
        elif isinstance(value, int | float):
            printed.update(f"{abs(value):.{digits}f}" for digits in (1, 2, 3, 4))

    kept = (ROOT / "docs" / "results" / "nano.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["benchmark"] for line in kept] == ["teaching", "dl-sub", "noveleval"]
    for line in kept:
        collect(json.loads(line))
    section = README.split("## What it reaches")[1].split("\n## ")[0]
    cells = [cell for row in section.splitlines() if row.startswith("| ") for cell in row.split("|")[2:]]
    figures = re.findall(r"\d+\.\d+", " ".join(cells))
    assert len(figures) > 60
    assert [figure for figure in figures if figure not in printed] == []
