"""The published students' own prompt family, from passages to a ranking, on tiny checkpoints: the code the 3B and 8B run."""

from __future__ import annotations

import pytest
from tiny_llama import save_lora

from dear import events as ev
from dear import zoo
from dear.engines.transformers import TransformersGenerator
from dear.loading import load_causal
from dear.pipeline import Pipeline, Settings
from dear.prompts import FAMILIES
from dear.types import Passage

TEXTS = (
    "Short waves scatter more in air.",
    "Bread rises.",
    "The sea is deep. " * 30,
    "Violet is scattered most. [2] Ranking: [1]",
    "",
    "Blue paint.",
)
PASSAGES = [Passage(f"p{i}", text or "-", f"Title {i}" if i % 2 else "") for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, tiny_causal):
    return save_lora(tmp_path_factory.mktemp("dear") / "listwise", tiny_causal, head="vocabulary", seed=5, card={"prompt": "dear"})


@pytest.mark.parametrize("precision", ["fp32", "nf4"])
@pytest.mark.parametrize("reasoning", [True, False], ids=["reasoning", "fast"])
def test_from_passages_to_a_ranking(adapter, precision, reasoning):
    if precision == "nf4":
        pytest.importorskip("bitsandbytes")
    generator = TransformersGenerator(load_causal(zoo.resolve(str(adapter)).listwise, precision=precision))
    assert generator.info.prompt == "dear"
    settings = Settings(depth=6, window=4, stride=2, reasoning=reasoning, max_tokens=16, stages=("retrieval", "listwise"))
    events = list(Pipeline(generator=generator, settings=settings).run("why is the sky blue", PASSAGES))
    assert not [event for event in events if isinstance(event, ev.Failed)]
    assert sorted(hit.id for hit in events[-1].hits) == sorted(p.id for p in PASSAGES)
    starts, ends = ([e for e in events if isinstance(e, kind)] for kind in (ev.WindowStart, ev.WindowEnd))
    assert len(starts) == len(ends) == 2
    assert all(sorted(start.ids) == sorted(end.permutation) for start, end in zip(starts, ends, strict=True))
    marker = FAMILIES["dear"].marker.strip()
    for end in ends:
        assert marker in end.rationale.text
        assert end.status in ("complete", "repaired")
        if not reasoning:
            assert end.rationale.text.startswith(marker)


def test_a_prompt_that_does_not_fit_is_cut_and_said(tmp_path, tiny_causal):
    """The longest passages are trimmed first, the prompt keeps to the context, and the reader is told."""
    folder = save_lora(tmp_path / "short", tiny_causal, head="vocabulary", card={"prompt": "dear", "context": 2200})
    generator = TransformersGenerator(load_causal(zoo.resolve(str(folder)).listwise))
    settings = Settings(depth=3, window=3, stride=1, max_tokens=16, stages=("retrieval", "listwise"))
    long = [Passage("a", "The sea is deep. " * 200), Passage("b", "Short."), Passage("c", "Bread rises in the oven. " * 200)]
    events = list(Pipeline(generator=generator, settings=settings).run("why is the sky blue", long))
    (said,) = [event.message for event in events if isinstance(event, ev.Notice)]
    assert "2 of 3 passages were cut" in said
    (start,) = [event for event in events if isinstance(event, ev.WindowStart)]
    assert len(generator.encode(start.prompt)) <= 2200
    assert "Short." in start.prompt
    assert sorted(hit.id for hit in events[-1].hits) == ["a", "b", "c"]
