"""How a batch is read must not change what is read: pairs of like length together, each few to their own length."""

from __future__ import annotations

from dataclasses import replace

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from training import practice
from training.groups import Candidate, Group, collate
from training.pointwise import TOGETHER, Groups, logits


def test_pairs_read_by_length_score_as_pairs_read_at_once(base):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    lengths = [(7 * i) % 90 + 1 for i in range(2 * TOGETHER + 3)]
    group = Group("q", "why", "set", tuple(Candidate(f"d{i}", "", "x" * n, 0) for i, n in enumerate(lengths)))
    batch = collate([group], lambda query, title, text: tokenizer(query + text)["input_ids"], tokenizer.pad_token_id)
    with torch.no_grad():
        whole = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
        found = logits(model, batch, TOGETHER)
    assert found.shape == whole.shape
    real = len(lengths)
    assert whole[:real].std() > 1e-3
    torch.testing.assert_close(found[:real], whole[:real], atol=1e-5, rtol=1e-5)


def test_a_share_of_the_groups_is_read_without_titles():
    groups = [Group(f"q{i}", "why", "set", (Candidate("d", "Title", "text", 1), Candidate("e", "Title", "text", 0))) for i in range(400)]

    def titles(share: float, seed: int = 0) -> list[set[str]]:
        return [{c.title for c in g.passages} for g in Groups(groups, share, seed).groups]

    assert titles(0.0) == [{"Title"}] * 400
    assert titles(1.0) == [{""}] * 400
    half = titles(0.5)
    assert all(len(found) == 1 for found in half), "a list is read with titles or without, never mixed"
    assert 150 < half.count({""}) < 250
    assert half == titles(0.5) != titles(0.5, seed=1)
    assert [replace(c, title="") for c in groups[0].passages] == list(Groups(groups[:1], 1.0).groups[0].passages)


def test_an_order_is_planted_only_in_a_passage_of_no_use():
    group = Group("q", "why", "set", (Candidate("d", "", "text", 2, 9.0), Candidate("e", "", "text", 0, 1.0), Candidate("f", "", "text", 0, 0.0)))
    groups = [replace(group, query_id=f"q{i}") for i in range(400)]
    orders = practice.orders("train")
    assert len(orders) > 100
    assert not set(orders) & set(practice.orders("dev"))

    read = Groups(groups, planted=0.25).groups
    changed = [g for g, was in zip(read, groups, strict=True) if g != was]
    assert 60 < len(changed) < 140
    assert read == Groups(groups, planted=0.25).groups != Groups(groups, seed=1, planted=0.25).groups
    for found in changed:
        assert [(c.id, c.label, c.teacher) for c in found.passages] == [(c.id, c.label, c.teacher) for c in group.passages]
        (told,) = [c for c in found.passages if c.text != "text"]
        assert not told.label
        assert told.text.removesuffix(" text") in orders
    assert {c.id for g in changed for c in g.passages if c.text != "text"} == {"e", "f"}
    useful = replace(group, passages=group.passages[:1])
    assert Groups([useful], planted=1.0).groups == [useful]
