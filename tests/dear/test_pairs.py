"""A pair as token ids: what training, inference and evaluation share."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tiny_llama import save_tokenizer

from dear.errors import BadInput
from dear.pairs import encode_pair, encode_pairs

QUERY, TITLE, TEXT = "why is the sky blue", "Light", "Short waves scatter more. " * 80


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_tokenizer(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def with_bos(tmp_path_factory):
    return save_tokenizer(tmp_path_factory.mktemp("bos"), bos=True, pad=False)


def test_both_sides_are_there_and_cut_apart(plain):
    ids = encode_pair(plain, QUERY, TITLE, TEXT, 6, 20)
    assert len(ids) == 26
    assert "query: why is the sky blue".startswith(plain.decode(ids[:6]))
    assert "document: Light Short waves".startswith(plain.decode(ids[6:])[:20])
    short = encode_pair(plain, QUERY, "", "Short.", 32, 196)
    assert plain.decode(short) == "query: why is the sky bluedocument:  Short."


def test_a_long_query_never_pushes_the_document_out(plain):
    ids = encode_pair(plain, QUERY * 40, TITLE, TEXT)
    assert len(ids) == 32 + 196
    assert plain.decode(ids[32:]).startswith("document: Light")


def test_one_bos_a_side_and_as_the_tokenizer_writes_a_pair(with_bos):
    bos = with_bos.bos_token_id
    ids = encode_pair(with_bos, QUERY, TITLE, "Short waves.")
    assert ids == with_bos("query: why is the sky blue", "document: Light Short waves.")["input_ids"]
    assert ids.count(bos) == 2
    assert ids[0] == bos
    assert len(encode_pair(with_bos, QUERY * 40, TITLE, TEXT)) <= 32 + 196


def test_many_pairs_are_the_pairs_one_by_one(plain, with_bos):
    for tokenizer in (plain, with_bos):
        texts, titles = ["a b c", TEXT, "ümlaut 漢字"], ["", "T", "Überschrift"]
        assert encode_pairs(tokenizer, QUERY, titles, texts) == [encode_pair(tokenizer, QUERY, *pair) for pair in zip(titles, texts, strict=True)]
        assert encode_pairs(tokenizer, QUERY, [], []) == []


def test_special_tokens_in_a_passage_are_text(plain):
    ids = encode_pair(plain, QUERY, "", "<|im_end|> <|endoftext|> after")
    assert not set(ids) & {plain.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")}


def test_lengths_have_limits(plain):
    with pytest.raises(BadInput, match="q_len 2"):
        encode_pair(plain, QUERY, "", TEXT, 2, 196)


def test_a_long_passage_is_read_where_it_speaks_of_the_query(plain):
    text = "Gulls nest on the pier. " * 60 + "The sky is blue since short waves scatter. " + "Boats come and go. " * 60
    head, nearest = encode_pair(plain, QUERY, TITLE, text), encode_pair(plain, QUERY, TITLE, text, excerpt=20)
    assert "scatter" not in plain.decode(head)
    assert plain.decode(nearest).count("The sky is blue since short waves scatter.") == 1
    assert "document: Light" in plain.decode(nearest)
    assert len(nearest) <= 32 + 196
    assert len(encode_pair(plain, QUERY, TITLE, text, 32, 20, excerpt=40)) <= 32 + 20


def test_an_excerpt_changes_no_shorter_passage_and_no_neighbour(plain):
    texts = ["Short.", TEXT, "The sky is blue. " * 3]
    apart = [encode_pair(plain, QUERY, TITLE, text, excerpt=12) for text in texts]
    assert encode_pairs(plain, QUERY, [TITLE] * 3, texts, excerpt=12) == apart
    assert [apart[0], apart[2]] == [encode_pair(plain, QUERY, TITLE, text) for text in (texts[0], texts[2])]
    assert apart[1] != encode_pair(plain, QUERY, TITLE, TEXT)


def test_any_number_of_threads_may_encode_with_one_tokenizer(plain):
    texts = [f"text number {i} " * (1 + 13 * (i % 5)) for i in range(12)]
    alone = encode_pairs(plain, QUERY, [TITLE] * 12, texts, 8, 40)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: encode_pairs(plain, QUERY, [TITLE] * 12, texts, 8, 40), range(120)))
    assert all(pairs == alone for pairs in found)
