"""Groups: a round trip through files, ragged batches, scores back in their places."""

from __future__ import annotations

import pytest
import torch

from dear.errors import BadInput
from training.groups import Candidate, Group, collate, read_groups, scatter, write_groups

GROUPS = [
    Group("q1", "why blue", "sky", (Candidate("a", "Air", "short waves", 2, 1.5), Candidate("b", "", "paint", 0, -0.25))),
    Group("q2", "who “asks”", "sky", (Candidate("c", "", "one", 0), Candidate("d", "D", "two words", 1), Candidate("e", "", "three", 0, 3.0))),
]


def encode(query: str, title: str, text: str) -> list[int]:
    return [len(word) for word in f"{query} {title} {text}".split()]


@pytest.mark.parametrize("name", ["groups.jsonl", "groups.jsonl.gz"])
def test_round_trip(tmp_path, name):
    path = tmp_path / "deep" / name
    assert write_groups(path, GROUPS) == 2
    assert list(read_groups(path)) == GROUPS
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "groups.jsonl"
    write_groups(path, GROUPS)

    def broken():
        yield GROUPS[0]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_groups(path, broken())
    assert list(read_groups(path)) == GROUPS


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "groups.jsonl"
    write_groups(path, GROUPS)
    path.write_text(path.read_text() + '{"query_id": "q3"}\n')
    with pytest.raises(BadInput, match="line 3: not a training group"):
        list(read_groups(path))


def test_collate_pads_on_the_right_and_masks_ragged_groups():
    batch = collate(GROUPS, encode, pad_id=99)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (8, 16)
    assert batch["mask"].tolist() == [[True, True, False], [True, True, True]]
    assert batch["labels"].tolist() == [[2, 0, 0], [0, 1, 0]]
    assert batch["slots"].tolist() == [0, 1, 3, 4, 5]
    assert batch["attention_mask"][5:].sum(-1).tolist() == [1, 1, 1]
    for row, mask in zip(batch["input_ids"][:5].tolist(), batch["attention_mask"][:5].tolist()):
        assert all((token == 99) == (not real) for token, real in zip(row, mask))
        assert mask == sorted(mask, reverse=True)
    teacher = batch["teacher"]
    assert teacher[0, :2].tolist() == [1.5, -0.25]
    assert teacher[1, 2].item() == 3.0
    assert teacher.isnan().tolist() == [[False, False, True], [True, True, False]]


def test_scatter_puts_scores_in_their_places_and_lets_gradients_through():
    batch = collate(GROUPS, encode, pad_id=0)
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 9.0, 9.0], dtype=torch.bfloat16, requires_grad=True)
    placed = scatter(scores, batch)
    assert placed.dtype == torch.float32
    assert placed.tolist() == [[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]]
    placed[1, 2].backward()
    assert scores.grad.tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
