"""The losses of stage 1, and two ablations. Section 3.1 of the paper (arXiv 2508.16998): L = CE + RankNet + KL.

Every loss takes `scores` (G, N): G groups (queries) of up to N passages; `mask` (G, N) is True where a passage is there, so
groups may be ragged. Arithmetic is float32 whatever the model computes in. A group that says nothing about a loss (no
relevant passage, no ordered pair) adds nothing, and the mean is over the groups that do; with none the loss is 0 and
still differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MASKED = -1e4  # a score no real passage has: exp(MASKED) is 0 in float32, and its gradient stays finite


def cross_entropy(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Softmax cross-entropy of the group against its relevant passages.

    -sum_i y_i log softmax(s)_i with y the labels > 0 normalised to sum 1; with one relevant passage this is the
    localised contrastive estimation loss (Gao et al. 2021). Labels are grades (G, N), 0 = not relevant.
    """
    s, keep = _masked(scores, mask), mask.bool()
    target = torch.where(keep, labels.float().clamp(min=0.0), 0.0)
    weight = target.sum(-1, keepdim=True)
    log_p = F.log_softmax(s, dim=-1)
    per_group = -(target / weight.clamp(min=1e-9) * log_p).sum(-1)
    return _mean(per_group, weight.squeeze(-1) > 0)


def ranknet(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """RankNet on hard ordered pairs: mean over pairs with y_i > y_j of log(1 + exp(s_j - s_i)) (Burges et al. 2005).

    Only the order of the labels counts: with soft targets on binary labels a large correct margin would be punished.
    """
    s = scores.float()
    pairs = _ordered(labels, mask)
    per_pair = F.softplus(-(s.unsqueeze(2) - s.unsqueeze(1)))
    return _pair_mean(per_pair, pairs)


def ranknet_teacher(scores: Tensor, teacher: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """RankNet with soft targets P_ij = sigmoid((t_i - t_j) / temperature) from a teacher's scores: its degree of preference is learnt."""
    s, t = scores.float(), teacher.float()
    target = torch.sigmoid((t.unsqueeze(2) - t.unsqueeze(1)) / temperature)
    pairs = _ordered(t, mask)
    per_pair = F.binary_cross_entropy_with_logits(s.unsqueeze(2) - s.unsqueeze(1), target, reduction="none")
    return _pair_mean(per_pair, pairs)


def kl_divergence(scores: Tensor, teacher: Tensor, mask: Tensor, temperature: float = 2.0) -> Tensor:
    """T^2 KL(softmax(t / T) || softmax(s / T)) over the group (Hinton et al. 2015; T^2 keeps gradients at the scale of T = 1)."""
    log_q = F.log_softmax(_masked(scores, mask) / temperature, dim=-1)
    log_p = F.log_softmax(_masked(teacher, mask) / temperature, dim=-1)
    per_group = torch.where(mask.bool(), log_p.exp() * (log_p - log_q), 0.0).sum(-1)
    return temperature**2 * _mean(per_group, mask.bool().sum(-1) > 1)


def listnet(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """ListNet, top-one form: cross-entropy between softmax(labels) and softmax(scores) (Cao et al. 2007)."""
    target = F.softmax(_masked(labels.float(), mask), dim=-1)
    log_p = F.log_softmax(_masked(scores, mask), dim=-1)
    per_group = -torch.where(mask.bool(), target * log_p, 0.0).sum(-1)
    return _mean(per_group, _ordered(labels, mask).any(-1).any(-1))


def lambdarank(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """LambdaRank: RankNet pairs weighted by the nDCG that swapping them would change (Burges 2010; LambdaLoss, Wang et al. 2018).

    Gain 2^y - 1, discount 1 / log2(rank + 1) with ranks from 1, by the current scores.
    """
    s, keep = _masked(scores, mask), mask.bool()
    with torch.no_grad():
        ranks = s.argsort(-1, descending=True).argsort(-1).float() + 1
        discount = torch.where(keep, 1 / torch.log2(ranks + 1), 0.0)
        gain = torch.where(keep, 2.0 ** labels.float() - 1, 0.0)
        best = 1 / torch.log2(torch.arange(1, s.shape[-1] + 1, device=s.device).float() + 1)
        ideal = (gain.sort(-1, descending=True).values * best).sum(-1, keepdim=True).clamp(min=1e-9)
        gains = gain / ideal
        delta = (gains.unsqueeze(2) - gains.unsqueeze(1)).abs() * (discount.unsqueeze(2) - discount.unsqueeze(1)).abs()
    pairs = _ordered(labels, mask)
    per_group = (delta * F.softplus(-(s.unsqueeze(2) - s.unsqueeze(1))) * pairs).sum((-1, -2))
    return _mean(per_group, pairs.any(-1).any(-1))


@dataclass(frozen=True)
class Weights:
    """How the parts add up. The paper's alpha = 0.1 is the share of the labels: alpha (CE + RankNet) + (1 - alpha) KL, T = 2."""

    cross_entropy: float = 0.1
    ranknet: float = 0.1
    kl: float = 0.9
    temperature: float = 2.0

    @classmethod
    def paper(cls, alpha: float = 0.1, temperature: float = 2.0) -> Weights:
        """The paper's one-number form."""
        return cls(alpha, alpha, 1 - alpha, temperature)


def hybrid(scores: Tensor, labels: Tensor, teacher: Tensor | None, mask: Tensor, weights: Weights) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum, and each part's value for the log. `teacher` may be None when its weight is 0."""
    parts: dict[str, Tensor] = {}
    if weights.cross_entropy:
        parts["cross_entropy"] = cross_entropy(scores, labels, mask)
    if weights.ranknet:
        parts["ranknet"] = ranknet(scores, labels, mask)
    if weights.kl:
        if teacher is None:
            raise ValueError("the KL part needs teacher scores: write them with `python -m training teacher`, or set the weight to 0")
        parts["kl"] = kl_divergence(scores, teacher, mask, weights.temperature)
    if not parts:
        raise ValueError("every loss weight is 0: give at least one")
    total = sum(getattr(weights, name) * value for name, value in parts.items())
    return total, {name: float(value.detach()) for name, value in parts.items()}


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.float().masked_fill(~mask.bool(), MASKED)


def _ordered(labels: Tensor, mask: Tensor) -> Tensor:
    """(G, N, N), True where both passages are there and the first has the higher label."""
    keep = mask.bool()
    return (labels.unsqueeze(2) > labels.unsqueeze(1)) & keep.unsqueeze(2) & keep.unsqueeze(1)


def _pair_mean(per_pair: Tensor, pairs: Tensor) -> Tensor:
    per_group = (per_pair * pairs).sum((-1, -2)) / pairs.sum((-1, -2)).clamp(min=1)
    return _mean(per_group, pairs.any(-1).any(-1))


def _mean(per_group: Tensor, counts: Tensor) -> Tensor:
    return (per_group * counts).sum() / counts.sum().clamp(min=1)
