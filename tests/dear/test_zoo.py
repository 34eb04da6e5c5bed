"""The table of checkpoints and what a name means."""

import json

import pytest

from dear import zoo
from dear.errors import CheckpointError, UnknownModel

PUBLISHED = [
    "llama2-13b-rankllama-teacher",
    *[f"dear-{size}-reranker-{loss}{lora}-v1" for size in ("8b", "3b") for loss in ("ranknet", "ce") for lora in ("", "-lora")],
    "dear-8b-reranker-listwise-v1",
    "dear-8b-reranker-listwise-lora-v1",
]


def test_every_published_checkpoint_is_known():
    assert sorted(zoo.CHECKPOINTS) == sorted(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_name_works_with_and_without_its_owner(name):
    found = zoo.resolve(name)
    assert found == zoo.resolve(f"abdoelsayed/{name}") == zoo.resolve(name.upper())
    stage = "listwise" if "listwise" in name else "pointwise"
    checkpoint = found.checkpoint(stage)
    assert found.has(stage)
    assert not found.has({"listwise": "pointwise", "pointwise": "listwise"}[stage])
    assert checkpoint.hub_id == f"abdoelsayed/{name}"
    assert checkpoint.adapter == ("lora" in name) == (checkpoint.base is not None)
    assert checkpoint.family == ("dear" if stage == "listwise" else "rankllama")
    assert (checkpoint.q_len, checkpoint.p_len, checkpoint.pooling) == (32, 196, "last")
    assert "Community License" in checkpoint.licence


def test_sizes_follow_from_the_shapes():
    # the bases' own cards: 8,030,261,248 / 3,212,749,824 / 13,015,864,320 / 134,515,008 parameters
    assert zoo.LLAMA_8B.parameters(head=False) == 8_030_261_248
    assert zoo.LLAMA_3B.parameters(head=False) == 3_212_749_824
    assert zoo.LLAMA_13B.parameters(head=False) == 13_015_864_320
    assert zoo.SMOL_135M.parameters(head=False) == 134_515_008
    eight = zoo.known("dear-8b-reranker-listwise-v1")
    assert eight.bytes_bf16 == 2 * 8_030_261_248
    # by hand: 6,979,321,856 linear weights at 4.12695 bits, the other 1,050,939,392 at 2 bytes
    assert eight.bytes_nf4 == pytest.approx(6_979_321_856 * 4.126953125 / 8 + 2 * 1_050_939_392, abs=2)
    assert zoo.known("dear-8b-reranker-listwise-lora-v1").bytes_nf4 - eight.bytes_nf4 == 2 * 41_943_040


def test_bundles_say_what_they_cannot_do():
    three, eight = zoo.resolve("dear-3b"), zoo.resolve("dear-8b")
    assert three.has("pointwise")
    assert not three.has("listwise")
    assert "no listwise" in three.note
    assert eight.pointwise.base == eight.listwise.base == "meta-llama/Llama-3.1-8B"
    nano = zoo.resolve("dear-nano")
    assert nano.has("pointwise")
    assert nano.has("listwise")
    for stage in ("pointwise", "listwise"):
        assert nano.adapter(stage) is None or (nano.adapter(stage) / "adapter_config.json").is_file()


def test_names_that_are_not_checkpoints():
    assert zoo.resolve("fake").has("pointwise")
    server = zoo.resolve("openai:m@http://localhost:1/v1")
    assert server.has("listwise")
    assert not server.has("pointwise")
    hub = zoo.resolve("someone/some-reranker")
    assert hub.pointwise.hub_id == hub.listwise.hub_id == "someone/some-reranker"


@pytest.mark.parametrize(
    ("name", "said"), [("dear-nona", "dear-nano"), ("dear-8b-reranker-rank-v1", "ranknet"), ("zzzz", "dear-nano"), ("", "empty")]
)
def test_an_unknown_name_gets_the_nearest(name, said):
    with pytest.raises(UnknownModel, match=said):
        zoo.resolve(name)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UnknownModel, match="does not exist"):
        zoo.resolve(str(tmp_path / "absent"))
    with pytest.raises(CheckpointError, match=r"neither config\.json"):
        zoo.resolve(str(tmp_path))


def test_a_local_folder_says_its_stage(tiny_causal, tiny_scorer, tiny_score_adapter, tiny_list_adapter):
    assert zoo.resolve(str(tiny_scorer)).listwise is None
    assert zoo.resolve(str(tiny_scorer)).pointwise.base is None
    plain = zoo.resolve(str(tiny_causal))
    assert plain.listwise.family == "nano"
    assert plain.pointwise.family == "rankllama"
    from transformers import AutoModelForCausalLM

    real = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny_causal).parameters())
    assert plain.listwise.parameters == real, "a model's size chooses its precision"
    adapter = zoo.resolve(str(tiny_score_adapter))
    assert adapter.pointwise.adapter
    assert adapter.pointwise.base == str(tiny_causal)
    assert adapter.adapter("pointwise") == tiny_score_adapter
    assert zoo.resolve(str(tiny_list_adapter)).pointwise is None


def test_a_folder_with_both_stages(tmp_path, tiny_score_adapter, tiny_list_adapter):
    (tmp_path / "pointwise").symlink_to(tiny_score_adapter)
    (tmp_path / "listwise").symlink_to(tiny_list_adapter)
    both = zoo.resolve(str(tmp_path))
    assert both.pointwise.stage == "pointwise"
    assert both.listwise.stage == "listwise"


@pytest.mark.parametrize("place", ["dear-8b-reranker-listwise-lora-v1", "models--abdoelsayed--dear-8b-reranker-listwise-lora-v1/snapshots/4f2"])
def test_a_copy_of_a_published_student_is_read_as_the_published_one(tmp_path, place):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"task_type": "CAUSAL_LM", "base_model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct"}))
    found, published = zoo.resolve(str(folder)).listwise, zoo.CHECKPOINTS["dear-8b-reranker-listwise-lora-v1"]
    assert (found.family, found.context, found.parameters, found.shape) == ("dear", 8192, published.parameters, published.shape)
    assert (found.path, found.base) == (folder, "meta-llama/Llama-3.1-8B-Instruct")
    (folder / "dear.json").write_text(json.dumps({"prompt": "nano", "context": 900}))
    found = zoo.resolve(str(folder)).listwise
    assert (found.family, found.context) == ("nano", 900), "what the folder says of itself counts more"


def test_an_adapter_says_its_base_before_any_is_fetched(tmp_path, monkeypatch):
    """Bases are large and gated: the table's is not asked for where the adapter sits on another."""
    from dear import loading

    asked = []
    monkeypatch.setattr(loading, "fetch", lambda name: asked.append(name) or tmp_path)
    table = zoo.CHECKPOINTS["dear-8b-reranker-listwise-lora-v1"]
    for named, wanted in (("meta-llama/Llama-3.1-8B-Instruct",) * 2, ("/home/author/models/llama", table.base), (table.base, table.base)):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": named}))
        assert loading.base_folder(table, tmp_path) == tmp_path
        assert asked.pop() == wanted
        assert not asked


def test_the_card_beside_a_checkpoint_counts(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"task_type": "CAUSAL_LM", "base_model_name_or_path": "x/y"}))
    (tmp_path / "dear.json").write_text(json.dumps({"stage": "listwise", "layers": 5, "prompt": "dear", "q_len": 16, "context": 512}))
    found = zoo.resolve(str(tmp_path)).listwise
    assert (found.layers, found.family, found.q_len, found.p_len, found.context, found.base) == (5, "dear", 16, 196, 512, "x/y")
    (tmp_path / "dear.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"dear\.json"):
        zoo.resolve(str(tmp_path))


def test_the_embedded_model_takes_its_adapters_where_they_lie(tmp_path, monkeypatch, tiny_list_adapter):
    monkeypatch.setattr(zoo, "NANO", tmp_path)
    assert "zero-shot" in zoo.resolve("dear-nano").note
    (tmp_path / "listwise").symlink_to(tiny_list_adapter)
    nano = zoo.resolve("dear-nano")
    assert nano.adapter("listwise") == tmp_path / "listwise"
    assert nano.adapter("pointwise") is None
    assert nano.listwise.base == zoo.EMBEDDED
