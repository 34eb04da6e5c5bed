"""Scores do not depend on padding, batch or neighbours; a session is its tokens, however they came."""

from contextlib import closing

import numpy as np
import pytest
from tiny_llama import save_llama

from dear import zoo
from dear.engines import Scorer, Session, TokenGenerator
from dear.engines.chat import adds_bos, render_chat
from dear.engines.transformers import TransformersGenerator, TransformersScorer, TransformersSession, batches
from dear.errors import EngineError
from dear.loading import load_causal, load_sequence_classifier
from dear.pairs import encode_pair

torch = pytest.importorskip("torch")
QUERY = "why is the sky blue"
TEXTS = ["Short.", "Waves of light scatter in the air. " * 9, "The sea is deep and salt water covers most of it.", "x " * 300, "<|im_end|>", "Blue."]
TITLES = ["", "Light", "Sea", "", "", "A title"]


def scores(scorer, texts=TEXTS, titles=TITLES):
    found = {i: s for batch in scorer.score(QUERY, texts, titles) for i, s in zip(batch.indices, batch.scores, strict=True)}
    assert sorted(found) == list(range(len(texts)))
    return [found[i] for i in range(len(texts))]


def scorer_of(folder, precision="fp32", **options):
    return TransformersScorer(load_sequence_classifier(zoo.resolve(str(folder)).pointwise, precision=precision), **options)


def generator_of(folder, precision="fp32"):
    return TransformersGenerator(load_causal(zoo.resolve(str(folder)).listwise, precision=precision))


@pytest.mark.parametrize("kind", ["whole", "lora", "zero-shot", "own pad token", "bos"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.15), ("nf4", 0.15)])
def test_a_score_does_not_change_with_padding_or_batch(kind, precision, tolerance, tmp_path, tiny_scorer, tiny_score_adapter, tiny_causal):
    """Tolerance: fp32 rounding, and for bf16 and NF4 (packed to bf16 on some CPUs) a few steps of 1/64 on scores of size 1 to 10."""
    if precision == "nf4":
        pytest.importorskip("bitsandbytes")
    if kind == "own pad token":
        folder = save_llama(tmp_path / "m", head="score")
        tokenizer = load_sequence_classifier(zoo.resolve(str(folder)).pointwise).tokenizer
        tokenizer.pad_token = "<|endoftext|>"
        tokenizer.save_pretrained(folder)
    elif kind == "bos":
        folder = save_llama(tmp_path / "m", head="score", bos=True, pad=False)
    else:
        folder = {"whole": tiny_scorer, "lora": tiny_score_adapter, "zero-shot": tiny_causal}[kind]
    scorer = scorer_of(folder, precision, batch_tokens=1)
    alone = scores(scorer)
    assert np.ptp(alone) > 0.5, "the tiny model must tell passages apart"
    for budget in (300, 100_000):
        scorer._budget = budget
        assert scores(scorer) == pytest.approx(alone, abs=tolerance)
    turned = scores(scorer, TEXTS[::-1], TITLES[::-1])[::-1]
    assert turned == pytest.approx(alone, abs=tolerance)


def test_the_last_real_token_is_read_also_where_it_is_the_pad(tiny_scorer):
    student = load_sequence_classifier(zoo.resolve(str(tiny_scorer)).pointwise)
    scorer = TransformersScorer(student)
    pad = student.tokenizer.pad_token_id
    assert pad == student.tokenizer.eos_token_id
    ids = encode_pair(student.tokenizer, QUERY, "", "Short.")
    ends = [ids, [*ids, pad], [*ids, pad, pad], ids + ids + ids]
    together = scorer._forward(ends)
    apart = [scorer._forward([end])[0] for end in ends]
    assert together == pytest.approx(apart, abs=1e-4)
    assert len({round(value, 3) for value in together}) == 4


def test_scores_are_those_of_transformers_itself(tiny_scorer):
    from transformers import AutoModelForSequenceClassification

    scorer = scorer_of(tiny_scorer)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_scorer).eval()
    pairs = [encode_pair(scorer._student.tokenizer, QUERY, title, text) for title, text in zip(TITLES, TEXTS, strict=True)]
    with torch.inference_mode():
        expected = [float(model(input_ids=torch.tensor([ids])).logits) for ids in pairs]
    assert scores(scorer) == pytest.approx(expected, abs=1e-4)


def test_batches_keep_to_the_budget_and_close_stops(tiny_scorer):
    lengths = [3, 50, 7, 7, 200, 1]
    packed = batches(lengths, 60)
    assert sorted(i for batch in packed for i in batch) == list(range(6))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 60 for batch in packed)
    scorer = scorer_of(tiny_scorer, batch_tokens=1)
    with closing(scorer.score(QUERY, TEXTS, TITLES)) as stream:
        first = next(stream)
    assert len(first.indices) == 1
    assert first.tokens == len(encode_pair(scorer._student.tokenizer, QUERY, TITLES[first.indices[0]], TEXTS[first.indices[0]]))
    assert list(scorer.score(QUERY, [], [])) == []


def test_protocols_and_info(tiny_scorer, tiny_causal, tiny_list_adapter):
    scorer, writer = scorer_of(tiny_scorer), generator_of(tiny_list_adapter)
    assert isinstance(scorer, Scorer)
    assert isinstance(writer, TokenGenerator)
    assert isinstance(writer.open([1, 2]), Session)
    assert (scorer.info.trained, writer.info.trained, generator_of(tiny_causal).info.trained) == (True, True, False)
    assert "zero-shot" in scorer_of(tiny_causal).info.chip()


@pytest.mark.parametrize("kind", ["whole", "lora", "lora on nf4"])
def test_append_and_rewind_equal_a_fresh_session(kind, tiny_causal, tiny_list_adapter):
    precision = "nf4" if "nf4" in kind else "fp32"
    tolerance = 0.1 if precision == "nf4" else 1e-4  # NF4 runs in bf16 on CPUs that have it, and rounds by the number of rows
    generator = generator_of(tiny_causal if kind == "whole" else tiny_list_adapter, precision)
    ids = generator.encode("why is the sky blue, and " * 8)

    def fresh(tokens):
        return TransformersSession(generator._student, list(tokens), generator.context, None).logits()

    session = generator.open(ids)
    assert session.logits().dtype == np.float32
    assert session.logits().shape == (len(generator._student.tokenizer),)
    steps = [
        ("append", [5, 6, 7]),
        ("append", [8]),
        ("rewind", len(ids) + 1),
        ("append", [9, 10]),
        ("rewind", len(ids)),
        ("rewind", 10),
        ("append", [11]),
    ]
    expected = list(ids)
    for what, value in steps:
        getattr(session, what)(value)
        expected = expected[:value] if what == "rewind" else expected + value
        assert len(session) == len(expected)
        np.testing.assert_allclose(session.logits(), fresh(expected), atol=tolerance)
    session.append([])
    np.testing.assert_allclose(session.logits(), fresh(expected), atol=tolerance)


def test_the_cache_of_a_common_prefix_is_kept_and_changes_nothing(tiny_causal):
    generator = generator_of(tiny_causal)
    prefix = generator.encode("The sea is deep and salt. " * 120)[:1100]
    fresh = [TransformersSession(generator._student, [*prefix, end], 4096, None).logits() for end in (5, 6)]
    first = generator.open([*prefix, 5])
    assert np.array_equal(first.logits(), fresh[0])
    first.append([7])
    first.logits()
    second = generator.open([*prefix, 6])
    assert len(second._cached) == 1024, "two whole chunks of 512 are taken over"
    assert np.array_equal(second.logits(), fresh[1]), "bit for bit as if nothing had run before"
    with pytest.raises(EngineError, match="ended"):
        first.logits()


def test_a_session_has_limits(tiny_causal):
    generator = generator_of(tiny_causal)
    generator.context = 16
    session = generator.open([1] * 16)
    for broken in (lambda: session.append([1]), lambda: generator.open([1] * 17), lambda: generator.open([]), lambda: session.rewind(0)):
        with pytest.raises(EngineError):
            broken()
    generator.close()


def test_the_prompt_has_one_bos_and_the_answers_turn(tmp_path, tiny_causal):
    messages = [{"role": "user", "content": "hello"}]
    plain = generator_of(tiny_causal)
    assert plain.render(messages) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert plain.encode(plain.render(messages))[0] == plain._student.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert plain.eos_ids == {plain._student.tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")}
    with_bos = generator_of(save_llama(tmp_path / "bos", bos=True))
    tokenizer = with_bos._student.tokenizer
    assert adds_bos(tokenizer)
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    for _ in range(2):  # a template that writes BOS itself, and one that does not
        ids = with_bos.encode(with_bos.render(messages))
        assert ids.count(tokenizer.bos_token_id) == 1
        assert ids[0] == tokenizer.bos_token_id
        tokenizer.chat_template = tokenizer.chat_template.removeprefix("{{ bos_token }}")
    tokenizer.chat_template = None
    with pytest.raises(EngineError, match="no chat template"):
        render_chat(tokenizer, messages)


def test_a_base_without_template_is_read_as_llama_3():
    class Llama3:
        chat_template, bos_token, bos_token_id, unk_token_id = None, "<|begin_of_text|>", 1, None

        def convert_tokens_to_ids(self, token):
            return 7

        def __call__(self, text):
            return {"input_ids": [1, 2]}

    text = render_chat(Llama3(), [{"role": "system", "content": " rank "}, {"role": "user", "content": "x"}])
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    assert text == ("<|begin_of_text|>" + head.format("system") + "rank<|eot_id|>" + head.format("user") + "x<|eot_id|>" + head.format("assistant"))


def test_a_pass_that_broke_off_does_not_spoil_the_next(tiny_causal, monkeypatch):
    """Out of memory in the middle of a long prompt: the session is over, and the same prompt can be read again."""
    generator = generator_of(tiny_causal)
    ids = generator.encode("word " * 300)
    expected = generator.open(ids).logits()
    generator.open(generator.encode("another prompt")).logits()
    read, calls = TransformersSession._read, []

    def failing(self, piece):
        calls.append(len(piece))
        if len(calls) == 2:
            raise RuntimeError("CUDA out of memory")
        return read(self, piece)

    monkeypatch.setattr(TransformersSession, "_read", failing)
    session = generator.open(ids)
    with pytest.raises(RuntimeError, match="out of memory"):
        for _ in session.catch_up():
            pass
    with pytest.raises(EngineError, match="has ended"):
        session.logits()
    assert len(calls) == 2
    assert np.allclose(generator.open(ids).logits(), expected, atol=1e-4)


def test_prompts_keep_to_the_positions_the_model_was_made_for(tiny_causal):
    assert zoo.resolve(str(tiny_causal)).listwise.context > 2048
    assert generator_of(tiny_causal).context == 2048
