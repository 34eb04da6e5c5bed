"""A tiny random LLaMA with a byte-level tokenizer and a chat template, and a teaching corpus of two topics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpora.teaching import Teaching

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_base(folder: Path, *, layers: int = 2, hidden: int = 32, seed: int = 0) -> Path:
    """A random LLaMA that reads bytes, saved as safetensors."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        pad_token_id=fast.pad_token_id,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


SKY = [
    ("Scattering in air", "Air molecules fling short waves about far more than long ones, so blue light reaches the eye from every side."),
    ("Eyes and violet", "Violet is scattered most of all, yet the retina answers weakly to it, and part of it never leaves the upper air."),
    ("Paint", "Sky blue is the name of a shade of paint that many a tin on the shelf claims for itself."),
    ("Mirror of the sea", "A story says that the sky borrows its colour from the sea; deserts under blue skies refute it."),
]
SOAP = [
    ("Two ends", "A soap molecule has one end that loves water and another that loves fat, and so it pulls grease into the rinse."),
    ("Ash and fat", "Boil fat with lye from wood ash and the mixture thickens into soap within some hours."),
    ("Opera", "The soap opera took its name from the washing powder makers who paid for the first broadcasts."),
    ("Carving", "Bars of soap are carved into flowers for hotel guests, a craft sold at markets."),
]
SEA = [
    ("Tides", "Twice a day the water climbs the harbour wall, drawn by the moon and held back by the shape of the bay."),
    ("Salt", "Rivers carry dissolved salts down to the ocean, where the water leaves as vapour and the salt stays."),
]


def write_teaching(folder: Path) -> Path:
    """Two topics in the schema of `corpora/teaching`: sky (train) and soap (test)."""
    folder.mkdir(parents=True, exist_ok=True)
    topics = {"sky": ("train", SKY), "soap": ("test", SOAP), "sea": ("train", SEA)}
    passages = [
        {"id": f"{topic}-{i}", "topic": topic, "title": title, "text": text, "tags": ["full"]}
        for topic, (_, texts) in topics.items()
        for i, (title, text) in enumerate(texts, 1)
    ]
    queries = [
        {"id": "sky-q1", "topic": "sky", "split": "train", "text": "why is the sky blue", "tags": []},
        {"id": "sky-q2", "topic": "sky", "split": "train", "text": "why is the sky not violet", "tags": []},
        {"id": "sea-q1", "topic": "sea", "split": "train", "text": "flowers carved of what", "tags": []},
        {"id": "soap-q1", "topic": "soap", "split": "test", "text": "how does soap clean", "tags": []},
    ]
    rationales = [
        {
            "query_id": "sky-q1",
            "needs": ["what scatters the light", "why violet does not win"],
            "evidence": [
                {"passage": "sky-1", "meets": [1], "quote": "Air molecules fling short waves about", "why": "Names the cause, the “law” included."},
                {"passage": "sky-2", "meets": [2], "quote": "the retina answers weakly to it", "why": "Says why a shorter wave is not what we see."},
            ],
            "near_miss": {"passage": "sky-3", "why": "A shade of paint has the words and not the reason."},
        },
        {
            "query_id": "sky-q2",
            "needs": ["why violet does not win"],
            "evidence": [{"passage": "sky-2", "meets": [1], "quote": "the retina answers weakly to it", "why": "Gives the eye's part in it."}],
            "near_miss": {"passage": "sky-4", "why": "The sea has no say in the colour above it."},
        },
    ]
    grades = {("sky-q1", "sky-1"): 3, ("sky-q1", "sky-2"): 2, ("sky-q2", "sky-2"): 3, ("soap-q1", "soap-1"): 3}
    for name, rows in (("passages", passages), ("queries", queries), ("rationales", rationales)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    lines = [f"{q['id']}\t{p['id']}\t{grades.get((q['id'], p['id']), 0)}" for q in queries for p in passages if p["topic"] == q["topic"]]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def teaching(tmp_path_factory: pytest.TempPathFactory) -> Teaching:
    return Teaching(write_teaching(tmp_path_factory.mktemp("teaching")))
