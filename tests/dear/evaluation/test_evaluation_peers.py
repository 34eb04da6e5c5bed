"""Peers score as what they stand for does."""

import json
import shutil

import numpy as np
import pytest

from dear.errors import BadInput, CheckpointError
from dear.evaluation.peers import MINILM, CrossEncoderScorer, EmbeddingScorer, ReferenceScorer, open_peer, peer_weights
from dear.evaluation.run import Plan
from dear.evaluation.scoring import CachedScorer
from dear.evaluation.show import show
from dear.evaluation.store import Store

QUERY = "why is the sky blue"
TEXTS = ["Short waves scatter more in clear air", "the sea is deep", "a " * 300, "x"]
TITLES = ["Light", "", "", ""]


def scores(scorer):
    found = {}
    for batch in scorer.score(QUERY, TEXTS, TITLES):
        found.update(zip(batch.indices, batch.scores, strict=True))
    return [found[i] for i in range(len(TEXTS))]


def test_embeddings_are_made_once_and_titles_count():
    seen = []

    def embed(texts):
        seen.extend(texts)
        return np.array([[1.0, 0.0] if "Light" in text or text == QUERY else [0.6, 0.8] for text in texts], dtype=np.float32)

    scorer = EmbeddingScorer(embed)
    assert scores(scorer) == [1.0, 0.6, 0.6, 0.6]
    scores(scorer)
    assert seen.count("Light\nShort waves scatter more in clear air") == 1
    assert seen.count(QUERY) == 2


def test_reading_ahead_is_not_a_querys_time():
    import time

    def embed(texts):
        time.sleep(0.2 * (len(texts) > 1))
        return np.ones((len(texts), 1), dtype=np.float32)

    cached = CachedScorer(EmbeddingScorer(embed), Store())
    scores(cached)
    assert cached.seconds < 0.2


def test_the_reference_pads_and_scores_the_same(tiny_scorer):
    from dear.engines.choice import open_scorer
    from dear.loading import load_sequence_classifier
    from dear.zoo import resolve

    ours = open_scorer(str(tiny_scorer), engine="transformers", precision="fp32")
    reference = open_peer("reference", embed=None, model=str(tiny_scorer), precision="fp32", device="cpu")
    assert scores(reference) == pytest.approx(scores(ours), abs=1e-4)
    shapes = []
    student = load_sequence_classifier(resolve(str(tiny_scorer)).pointwise)
    decode, student.decode = student.decode, lambda ids, **options: shapes.append(tuple(ids.shape)) or decode(ids, **options)
    scores(ReferenceScorer(student, "tiny"))
    assert shapes == [(4, 228)]


def test_the_reference_reads_the_excerpt_that_the_student_reads(tiny_scorer, tmp_path):
    from dear.engines.choice import open_scorer

    folder = tmp_path / "excerpting"
    shutil.copytree(tiny_scorer, folder)
    (folder / "dear.json").write_text(json.dumps({"stage": "pointwise", "excerpt": 12}), encoding="utf-8")
    long = "Gulls nest on the pier all year. " * 9 + "The sky is blue because short waves scatter. " + "Ships came. " * 9

    def of(scorer):
        return [score for batch in scorer.score(QUERY, [long], [""]) for score in batch.scores]

    ours = of(open_scorer(str(folder), engine="transformers", precision="fp32"))
    assert of(open_peer("reference", embed=None, model=str(folder), precision="fp32", device="cpu")) == pytest.approx(ours, abs=1e-4)
    assert of(open_scorer(str(tiny_scorer), engine="transformers", precision="fp32")) != pytest.approx(ours, abs=1e-4), "the head reads otherwise"


def test_the_reference_needs_a_trained_head(tiny_causal):
    with pytest.raises(BadInput, match="no score head"):
        open_peer("reference", embed=None, model=str(tiny_causal), precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory):
    """A random BERT with one output, as sentence-transformers loads one."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("cross-encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({w for text in (QUERY, *TEXTS, *TITLES) for w in text.lower().split()})]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=1, initializer_range=0.5
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    return folder


def test_a_cross_encoder_by_path_is_sentence_transformers_own(cross_encoder):
    import torch
    from sentence_transformers import CrossEncoder

    found = scores(CrossEncoderScorer(str(cross_encoder)))
    pairs = [(QUERY, f"{title} {text}".strip()) for title, text in zip(TITLES, TEXTS, strict=True)]
    theirs = CrossEncoder(str(cross_encoder)).predict(pairs, activation_fn=torch.nn.Identity())
    assert found == pytest.approx([float(value) for value in theirs], abs=1e-4)
    assert len({round(value, 4) for value in found}) == len(TEXTS)


def test_a_cross_encoder_stands_in_the_table(cross_encoder, small, room, tmp_path):
    plan = Plan((str(small),), model="fake", stages=("bm25", "pointwise"), peers=("bm25", str(cross_encoder)), explain=False)
    (text,) = show(plan, room, tmp_path / "out", as_json=True)
    line = json.loads(text)
    first, peer = line["peers"]
    assert (first["stage"], first["same_as"], peer["stage"], peer["same_as"]) == ("bm25", "bm25", str(cross_encoder), "")
    assert peer["seconds_per_query"] > 0
    assert {(c["a"], c["b"]) for c in line["comparisons"]} >= {("bm25", "pointwise"), (str(cross_encoder), "pointwise")}
    assert f"| {cross_encoder} | measured here | " in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert len(list((tmp_path / "out").glob("*.trec"))) == 3


def test_new_weights_of_a_peer_under_an_old_path_are_another_peer(cross_encoder, tmp_path):
    copy = shutil.copytree(cross_encoder, tmp_path / "copy")
    before = peer_weights(str(copy))
    assert peer_weights(str(copy)) == before != str(copy)
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert peer_weights(str(copy)) != before
    assert (peer_weights(MINILM), peer_weights("owner/name")) == (MINILM, "owner/name")


def test_what_is_not_a_cross_encoder_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be opened as a CrossEncoder"):
        CrossEncoderScorer(str(tmp_path / "nothing"))
