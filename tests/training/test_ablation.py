"""The ablation of the losses, on a tiny model; calibration by values worked out by hand."""

from __future__ import annotations

import math

import pytest

from dear.errors import BadInput
from training import ablation, recipes
from training.ablation import PARTS, Outcome, ablate, measure, table, variant
from training.calibration import error_after_platt, expected_calibration_error, platt
from training.groups import Candidate, Group, write_groups


def groups(count: int) -> list[Group]:
    return [Group(f"q{i}", f"colour of thing {i}", "set", tuple(candidate(i, j) for j in range(3))) for i in range(count)]


def candidate(i: int, j: int) -> Candidate:
    return Candidate(f"q{i}d{j}", "", f"text {j} of {i}", int(j == 0), float(3 - j))


def test_calibration_error_by_hand():
    assert expected_calibration_error([0.1, 0.1, 0.9, 0.9], [False, False, True, True], bins=2) == pytest.approx(0.1)
    assert expected_calibration_error([0.5, 0.5, 1.0, 1.0], [True, False, False, False], bins=2) == pytest.approx(0.5)
    with pytest.raises(BadInput, match="2 probabilities for 1 labels"):
        expected_calibration_error([0.1, 0.2], [True])


def test_platt_finds_the_curve_that_made_the_labels():
    scores = [-2.0] * 100 + [0.0] * 100 + [2.0] * 100
    share = {s: round(100 / (1 + math.exp(-(1.5 * s - 0.5)))) for s in (-2.0, 0.0, 2.0)}
    labels = [i % 100 < share[s] for i, s in enumerate(scores)]
    slope, intercept = platt(scores, labels)
    assert slope == pytest.approx(1.5, abs=0.1)
    assert intercept == pytest.approx(-0.5, abs=0.1)
    with pytest.raises(BadInput, match="relevant and irrelevant"):
        platt([1.0, 2.0], [True, True])


def test_a_shifted_scale_is_no_error_after_platt_and_noise_is():
    sound = [([3.0, -3.0, -2.0], [True, False, False])] * 20
    assert error_after_platt([([10 * s + 7 for s in scores], labels) for scores, labels in sound]) < 0.01
    # one half of the queries says the opposite of the other, so either curve is wrong about the other half
    assert error_after_platt([([3.0, -3.0], [True, False]), ([3.0, -3.0], [False, True])] * 10) > 0.5
    with pytest.raises(BadInput, match="cannot be halved"):
        error_after_platt(sound[:1])


def test_a_variant_changes_loss_seed_steps_and_folder_alone():
    recipe = recipes.load("nano-cpu", ["mining.size=8", "pointwise.groups_per_step=4"])
    one = variant(recipe, "CE + KL", 2, 4000)
    assert (one.pointwise.cross_entropy, one.pointwise.ranknet, one.pointwise.kl) == (recipe.pointwise.cross_entropy, 0.0, recipe.pointwise.kl)
    assert (one.pointwise.seed, one.pointwise.max_steps) == (2, 125)
    assert "ablation/ce-kl-2-" in one.output.folder
    others = (variant(recipe, "CE + KL", 2, 8000), variant(recipe, "CE + KL", 2, 4000, groups(2)))
    others += (variant(recipes.load("nano-cpu", ["mining.size=8", "pointwise.learning_rate=1e-4"]), "CE + KL", 2, 4000),)
    assert len({one.output.folder, *(other.output.folder for other in others)}) == 4, "another number of pairs, dev set or rate is another run"
    assert one.pointwise.learning_rate == recipe.pointwise.learning_rate
    with pytest.raises(BadInput, match="the weight 0"):
        variant(recipes.load("nano-cpu", ["pointwise.kl=0"]), "CE + KL", 0, 100)


def test_measure_and_table():
    found = groups(4)
    best, worst = [[3.0, 1.0, 0.0]] * 4, [[0.0, 1.0, 2.0]] * 4
    assert measure("CE", 0, found, best).ndcg == 100.0
    assert measure("CE", 0, found, worst).ndcg == 50.0  # the one relevant passage at rank 3: 1 / log2(4)
    text = table([Outcome("CE", 0, 50.0, 4.0), Outcome("CE", 1, 52.0, 6.0), Outcome("CE + KL", 0, 60.0, 3.0)])
    assert "| CE | 2 | 51.0 ± 1.4 | 5.0 ± 1.4 |" in text
    assert "| CE + KL | 1 | 60.0 | 3.0 |" in text


def test_four_losses_are_trained_measured_and_not_made_twice(base, tmp_path, monkeypatch):
    train, dev = tmp_path / "train.jsonl.gz", tmp_path / "dev.jsonl.gz"
    write_groups(train, groups(8))
    write_groups(dev, groups(4))
    settings = ["model.base_sha256=''", f"model.base={base}", f"pointwise.train={train}", f"pointwise.dev={dev}", f"output.folder={tmp_path}/out"]
    settings += ["pointwise.layers=1", "pointwise.lora_rank=2", "pointwise.precision=fp32", "pointwise.groups_per_step=2", "mining.size=3"]
    recipe = recipes.load("nano-cpu", settings)
    first = list(ablate(recipe, [0], 12))
    assert [o.loss for o in first] == list(PARTS)
    assert all(0 <= o.ndcg <= 100 and 0 <= o.ece <= 100 for o in first)
    monkeypatch.setattr(ablation, "scores_of", None)  # a second pass reads what is there
    assert list(ablate(recipe, [0], 12)) == first
