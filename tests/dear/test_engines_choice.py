"""Engine, precision and device follow from the machine, with a reason; wishes are honoured or refused."""

import pytest

from dear.engines.choice import Machine, choose, machine, open_generator, open_scorer
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.errors import BadInput, UnknownModel

GPU = Machine(cuda=True, cuda_name="H100", bitsandbytes=True, onnx=True)
NEW_CPU = Machine(cpu_bf16=True, onnx=True, bitsandbytes=True)
OLD_CPU = Machine(onnx=True)
BARE = Machine()
EIGHT_B = 8_000_000_000


@pytest.mark.parametrize(
    ("here", "stage", "parameters", "expected"),
    [
        (GPU, "pointwise", EIGHT_B, ("transformers", "nf4", "cuda:0")),
        (GPU, "listwise", EIGHT_B, ("transformers", "nf4", "cuda:0")),
        (Machine(cuda=True), "listwise", EIGHT_B, ("transformers", "bf16", "cuda:0")),
        (GPU, "pointwise", 134_000_000, ("transformers", "bf16", "cuda:0")),
        (GPU, "listwise", 134_000_000, ("transformers", "bf16", "cuda:0")),
        (GPU, "listwise", None, ("transformers", "nf4", "cuda:0")),
        (NEW_CPU, "pointwise", 1, ("transformers", "bf16", "cpu")),
        (OLD_CPU, "pointwise", 1, ("transformers", "fp32", "cpu")),
        (NEW_CPU, "pointwise", EIGHT_B, ("transformers", "nf4", "cpu")),
        (OLD_CPU, "listwise", 1, ("onnx", "int8", "cpu")),
        (OLD_CPU, "listwise", EIGHT_B, ("onnx", "int4", "cpu")),
        (OLD_CPU, "listwise", None, ("onnx", "int8", "cpu")),
        (BARE, "listwise", 1, ("transformers", "fp32", "cpu")),
    ],
)
def test_auto(here, stage, parameters, expected):
    choice = choose(stage, here=here, parameters=parameters)
    assert (choice.engine, choice.precision, choice.device) == expected
    assert choice.reason


def test_a_base_in_four_bits_of_its_own_keeps_them():
    choice = choose("listwise", here=OLD_CPU, parameters=1, own_bits=True)
    assert (choice.engine, choice.precision) == ("onnx", "int4")
    assert "own 4 bits" in choice.reason
    assert choose("listwise", here=OLD_CPU, parameters=1, own_bits=True, precision="int8").precision == "int8"
    assert choose("listwise", here=GPU, own_bits=True).precision == "nf4"


def test_wishes():
    assert choose("listwise", engine="transformers", here=NEW_CPU).precision == "bf16"
    assert choose("listwise", precision="fp32", here=NEW_CPU).engine == "transformers"
    assert choose("listwise", precision="int4", here=NEW_CPU).precision == "int4"
    assert choose("listwise", device="cpu", here=GPU).engine == "onnx"
    assert choose("pointwise", precision="fp32", here=GPU).device == "cuda:0"
    assert choose("listwise", device="cuda:1", here=GPU).device == "cuda:1"
    assert choose("pointwise", engine="fake", here=BARE).engine == "fake"
    assert choose("listwise", engine="openai", here=BARE).precision == "remote"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stage": "third"}, "third"),
        ({"engine": "llama"}, "llama"),
        ({"device": "cuda"}, "no GPU"),
        ({"device": "tpu"}, "tpu"),
        ({"precision": "int3"}, "int3"),
        ({"engine": "onnx"}, "not installed"),
        ({"engine": "onnx", "here": GPU}, "built for CPUs"),
        ({"stage": "pointwise", "precision": "int4"}, "int4"),
    ],
)
def test_impossible_wishes_are_refused(options, said):
    with pytest.raises(BadInput, match=said):
        choose(**{"stage": "listwise", "here": BARE} | options)


def test_this_machine_is_read():
    here = machine()
    assert choose("pointwise").precision in ("fp32", "bf16", "nf4")
    assert here is machine()


def test_names_open_the_right_thing(tiny_scorer, tiny_list_adapter):
    assert isinstance(open_scorer("fake"), FakeScorer)
    assert isinstance(open_generator("dear-nano", engine="fake"), FakeGenerator)
    assert open_scorer(str(tiny_scorer), precision="fp32").info.model == str(tiny_scorer)
    writer = open_generator(str(tiny_list_adapter), engine="transformers", precision="fp32")
    assert (writer.info.prompt, writer.info.trained) == ("nano", True)
    assert "asked for" in writer.info.reason
    assert open_generator("openai:m@http://127.0.0.1:9/v1").info.engine == "openai"


@pytest.mark.parametrize(
    ("opener", "model", "engine", "said"),
    [
        (open_generator, "dear-3b", "auto", "no listwise checkpoint"),
        (open_scorer, "dear-8b-reranker-listwise-v1", "auto", "no pointwise checkpoint"),
        (open_scorer, "openai:m@http://h/v1", "auto", "no pointwise"),
        (open_generator, "dear-nano", "openai", "openai:MODEL@"),
        (open_generator, "openai:m", "auto", "openai:my-model@"),
        (open_scorer, "dear-nano", "openai", "no pointwise scores"),
    ],
)
def test_what_a_model_cannot_do(opener, model, engine, said):
    with pytest.raises(BadInput, match=said):
        opener(model, engine=engine)


def test_an_unknown_model():
    with pytest.raises(UnknownModel, match="dear-nano"):
        open_scorer("dear-nanu")
