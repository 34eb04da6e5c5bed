"""Models side by side on dev lists: measures by kind, titles away, and an error before a model is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dear.errors import BadInput
from training import compare, recipes
from training.groups import Candidate, Group, write_groups


def group(name: str, source: str, labels: tuple[int, ...], texts: tuple[str, ...]) -> Group:
    passages = tuple(Candidate(f"{name}-{i}", "Bread", text, label) for i, (label, text) in enumerate(zip(labels, texts, strict=True)))
    return Group(name, "how long does dough rise", source, passages)


TEXTS = ("Dough rises for an hour or two in a warm place.", "The parliament met in spring to vote on the treaty.")
RIGHT, WRONG = group("right", "judged/web", (1, 0), TEXTS), group("wrong", "teaching", (0, 1), TEXTS)


def recipe(folder, *groups: Group) -> recipes.Recipe:
    write_groups(folder / "dev.jsonl", groups)
    return recipes.load("nano-cpu", [f"mix.dev_out={folder / 'dev.jsonl'}"])


def test_a_model_is_measured_by_kind():
    (row,) = compare.compare([RIGHT, WRONG], ["minilm"])
    assert row.by_kind["web"] == pytest.approx((100.0, 100.0))
    assert row.by_kind["teaching"] == pytest.approx((63.09, 50.0), abs=0.01)  # the relevant one second: 1 / log2(3), 1 / 2
    head, _, line = compare.table([row], [RIGHT, WRONG]).splitlines()
    assert head == "| nDCG@10, RR@10 | 1 web | 1 teaching |"
    assert line == "| minilm | 100.0, 100.0 | 63.1, 50.0 |"


def test_the_shipped_student_and_its_folder_say_the_same():
    from dear.zoo import NANO

    by_name, by_folder = compare.compare([RIGHT, WRONG], ["dear-nano", str(NANO / "pointwise")])
    assert by_name.by_kind == by_folder.by_kind


def test_titles_are_left_out_where_asked(tmp_path):
    loaded = recipe(tmp_path, RIGHT)
    assert [c.title for c in compare.dev_groups(loaded)[0].passages] == ["Bread", "Bread"]
    assert [c.title for c in compare.dev_groups(loaded, untitled=True)[0].passages] == ["", ""]


def test_what_was_not_drawn_is_said(tmp_path):
    with pytest.raises(BadInput, match="does not exist: make it with `python -m training mix`"):
        compare.dev_groups(recipes.load("nano-cpu", [f"mix.dev_out={tmp_path / 'gone.jsonl'}"]))
    with pytest.raises(BadInput, match="has no list"):
        compare.dev_groups(recipe(tmp_path))


def test_the_command_prints_the_table(tmp_path):
    loaded = recipe(tmp_path, RIGHT, WRONG)
    command = [sys.executable, "-m", "training", "compare", "nano-cpu", f"mix.dev_out={loaded.mix.dev_out}", "--model", "minilm", "--untitled"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| nDCG@10, RR@10 | 1 web | 1 teaching |")
    assert "minilm has scored 2 lists" in done.stderr
    lost = subprocess.run([*command[:5], f"mix.dev_out={tmp_path / 'gone'}"], capture_output=True, text=True, check=False)
    assert lost.returncode != 0
    assert "Traceback" not in lost.stderr
