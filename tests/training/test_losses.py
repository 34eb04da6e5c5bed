"""Each loss: a value worked out by hand, the sign of its gradient, ragged groups, float32 under bf16."""

from __future__ import annotations

import math

import pytest
import torch

from training import losses
from training.losses import Weights, hybrid

ALL = torch.ones((1, 2), dtype=torch.bool)
S, Y = torch.tensor([[1.0, 0.0]]), torch.tensor([[1, 0]])
T = torch.tensor([[2.0, 0.0]])
LABELLED = [losses.cross_entropy, losses.ranknet, losses.listnet, losses.lambdarank]
TAUGHT = [losses.kl_divergence, losses.ranknet_teacher]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_cross_entropy_by_hand():
    assert losses.cross_entropy(S, Y, ALL).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_cross_entropy_of_two_relevant_passages_is_the_mean_over_them():
    scores, labels = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[1, 1, 0]])
    log_z = math.log(math.e + math.e**2 + 1)
    assert losses.cross_entropy(scores, labels, torch.ones_like(labels).bool()).item() == pytest.approx(((log_z - 1) + (log_z - 2)) / 2, rel=1e-5)


def test_ranknet_by_hand():
    assert losses.ranknet(S, Y, ALL).item() == pytest.approx(math.log(1 + math.exp(-1)))
    graded, scores = torch.tensor([[2, 1, 0]]), torch.tensor([[0.0, 1.0, 3.0]])
    pairs = [math.log(1 + math.exp(x)) for x in (1.0, 3.0, 2.0)]
    assert losses.ranknet(scores, graded, torch.ones_like(graded).bool()).item() == pytest.approx(sum(pairs) / 3, rel=1e-5)


def test_ranknet_never_punishes_a_large_correct_margin():
    values = [losses.ranknet(torch.tensor([[m, 0.0]]), Y, ALL).item() for m in (0.0, 1.0, 4.0, 16.0)]
    assert values == sorted(values, reverse=True)


def test_ranknet_teacher_by_hand_and_best_at_the_teachers_margin():
    p = sigmoid(2)
    expected = -(p * math.log(sigmoid(1)) + (1 - p) * math.log(1 - sigmoid(1)))
    assert losses.ranknet_teacher(S, T, ALL).item() == pytest.approx(expected, rel=1e-5)
    best = losses.ranknet_teacher(T, T, ALL).item()
    assert best < losses.ranknet_teacher(S, T, ALL).item()
    assert best < losses.ranknet_teacher(3 * T, T, ALL).item()


def test_kl_by_hand():
    p, q = sigmoid(1.0), sigmoid(0.5)  # softmax of (2, 0) / 2 and of (1, 0) / 2
    expected = 4 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
    assert losses.kl_divergence(S, T, ALL, 2.0).item() == pytest.approx(expected, rel=1e-4)
    assert losses.kl_divergence(T + 5, T, ALL, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_listnet_by_hand():
    p = sigmoid(1.0)  # softmax of the labels (1, 0)
    expected = -(p * math.log(sigmoid(1)) + (1 - p) * math.log(1 - sigmoid(1)))
    assert losses.listnet(S, Y, ALL).item() == pytest.approx(expected, rel=1e-5)


def test_lambdarank_by_hand():
    swap = 1 - 1 / math.log2(3)  # gain 1 of ideal 1, discounts of ranks 1 and 2
    assert losses.lambdarank(S, Y, ALL).item() == pytest.approx(swap * math.log(1 + math.exp(-1)), rel=1e-5)


@pytest.mark.parametrize("loss", LABELLED)
def test_gradient_lifts_the_relevant_passage(loss):
    scores = torch.zeros((1, 3), requires_grad=True)
    loss(scores, torch.tensor([[0, 1, 0]]), torch.ones((1, 3)).bool()).backward()
    assert scores.grad[0, 1] < 0
    assert scores.grad[0].sum().abs() < 1e-6
    assert (scores.grad[0, [0, 2]] >= 0).all()


@pytest.mark.parametrize("loss", TAUGHT)
def test_gradient_follows_the_teacher(loss):
    scores = torch.zeros((1, 3), requires_grad=True)
    loss(scores, torch.tensor([[0.0, 3.0, -3.0]]), torch.ones((1, 3)).bool()).backward()
    assert scores.grad[0, 1] < 0 < scores.grad[0, 2]


@pytest.mark.parametrize("loss", LABELLED + TAUGHT)
def test_padding_a_group_changes_nothing(loss):
    labels = torch.tensor([[2, 0, 1]]) if loss in LABELLED else torch.tensor([[2.0, 0.5, -1.0]])
    scores = torch.tensor([[0.3, 0.9, -0.2]])
    alone = loss(scores, labels, torch.ones((1, 3)).bool())
    wide = torch.cat([scores, torch.tensor([[9.0, 9.0]])], 1).requires_grad_()
    target = torch.cat([labels, torch.tensor([[7, 7]])], 1).to(labels.dtype)
    padded = loss(wide, target, torch.tensor([[True, True, True, False, False]]))
    assert padded.item() == pytest.approx(alone.item(), rel=1e-5)
    padded.backward()
    assert wide.grad[0, 3:].abs().max() == 0


@pytest.mark.parametrize("loss", LABELLED)
def test_a_group_without_an_answer_adds_nothing(loss):
    scores = torch.tensor([[1.0, 0.0], [3.0, -2.0]], requires_grad=True)
    both = loss(scores, torch.tensor([[1, 0], [0, 0]]), torch.ones((2, 2)).bool())
    assert both.item() == pytest.approx(loss(S, Y, ALL).item(), rel=1e-5)
    none = loss(scores, torch.zeros((2, 2), dtype=torch.long), torch.ones((2, 2)).bool())
    none.backward()
    assert none.item() == 0
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("loss", LABELLED + TAUGHT)
def test_float32_inside_whatever_the_model_computes_in(loss):
    torch.manual_seed(0)
    scores = torch.randn(4, 6).bfloat16()
    target = torch.randint(0, 3, (4, 6)) if loss in LABELLED else torch.randn(4, 6)
    mask = torch.ones((4, 6)).bool()
    found = loss(scores, target, mask)
    assert found.dtype == torch.float32
    assert found.item() == loss(scores.float(), target, mask).item()
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(scores, target, mask).item() == pytest.approx(found.item(), rel=1e-6)


def test_hybrid_is_the_weighted_sum_of_its_parts():
    weights = Weights(0.5, 0.25, 2.0, 2.0)
    total, parts = hybrid(S, Y, T, ALL, weights)
    assert total.item() == pytest.approx(0.5 * parts["cross_entropy"] + 0.25 * parts["ranknet"] + 2 * parts["kl"], rel=1e-5)
    assert parts["kl"] == pytest.approx(losses.kl_divergence(S, T, ALL, 2.0).item())
    assert Weights.paper(0.1) == Weights(0.1, 0.1, 0.9, 2.0)


def test_hybrid_says_what_is_missing():
    with pytest.raises(ValueError, match="needs teacher scores"):
        hybrid(S, Y, None, ALL, Weights())
    with pytest.raises(ValueError, match="every loss weight is 0"):
        hybrid(S, Y, T, ALL, Weights(0, 0, 0))
    assert hybrid(S, Y, None, ALL, Weights(1, 0, 0))[0].item() == pytest.approx(losses.cross_entropy(S, Y, ALL).item())


def test_extreme_scores_stay_finite():
    scores = torch.tensor([[80.0, -80.0]], requires_grad=True)
    total, _ = hybrid(scores, torch.tensor([[0, 1]]), torch.tensor([[-50.0, 50.0]]), ALL, Weights(1, 1, 1))
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(scores.grad).all()
