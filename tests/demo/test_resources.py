"""Names of corpora: what a visitor may see of a folder on the server is its last part, wherever it is named."""

from __future__ import annotations

import json
import threading
import time

import pytest
from demo_parts import write_corpus

from dear.engines import choice
from dear.errors import DearError
from demo.limits import MINE, check_name
from demo.resources import LATER, Resources, _open_engine, public_models, public_names


def test_names_are_short_distinct_and_pass_the_check():
    given = ("teaching", "/a/small", "/b/small/", "/c/my data", "/d/" + "x" * 300, "/e/${1}<b>", "prebuilt:msmarco-v1-passage")
    named = public_names(given)
    assert tuple(named.values()) == given
    assert list(named)[:4] == ["teaching", "small", "small-2", f"{MINE}-2"]
    assert list(named)[-1] == given[-1]
    assert all(check_name("corpus", name, named) == name for name in named)
    assert not any("/" in name for name in named)


def test_the_page_never_shows_where_a_corpus_lies(tmp_path):
    app = pytest.importorskip("demo.app")
    folder = str(write_corpus(tmp_path / "secret-place" / "small"))
    resources = Resources(corpora=(folder,), models=("fake",))
    assert resources.corpora == ("small",)
    assert "secret-place" not in json.dumps(app.build_demo(resources).get_config_file(), default=str)
    resources._load("corpus:small")
    assert resources.get("corpus:small").queries


def test_a_corpus_that_is_not_there_is_said_without_its_path(tmp_path):
    resources = Resources(corpora=(str(tmp_path / "nowhere"),), models=("fake",))
    resources.start()
    end = time.monotonic() + 20
    while resources.part("corpus:nowhere").state != "failed" and time.monotonic() < end:
        time.sleep(0.05)
    with pytest.raises(DearError, match="nowhere") as caught:
        resources.get("corpus:nowhere")
    assert str(tmp_path) not in str(caught.value)


def test_models_are_known_by_their_own_names_alone(tmp_path):
    folder, server = str(tmp_path / "secret-place" / "student"), "openai:org/qwen@http://user:word@10.9.8.7:8000/v1"
    named = public_models((folder, server, "dear-nano", "openai:org/qwen@http://10.9.8.8/v1"))
    assert list(named) == ["student", "org/qwen", "dear-nano", "org/qwen-2"]
    assert all(check_name("model", name, named) == name for name in named)
    app = pytest.importorskip("demo.app")
    resources = Resources(corpora=("teaching",), models=(folder, server))
    page = json.dumps(app.build_demo(resources).get_config_file(), default=str)
    for key in ("generator:org/qwen", "scorer:student", "generator:student"):
        resources._load(key)
    told = page + str(resources.parts()) + str([resources.engines(model) for model in resources.models])
    told += str([resources.chips(model) for model in resources.models])
    assert resources.part("generator:org/qwen").state == "ready"
    assert "student" in told
    assert "its server" in told
    assert not [private for private in ("secret-place", "10.9.8", "user:word") if private in told]
    assert resources.part("scorer:student").state == "failed", "there is no such folder, which is said under its own name"


def test_what_nobody_waits_for_leaves_the_processor_to_a_run(tmp_path):
    """Embeddings made in the background rest while a run has the model, and go on once it ends or somebody asks for a part."""
    resources = Resources(corpora=(str(write_corpus(tmp_path / "small")),), models=("fake",))
    steps: list[int] = []

    def load(tell):
        for step in range(4):
            steps.append(step)
            tell(f"{step} of 4")
        return steps

    for key in ("slow", "urgent"):
        resources._add(key, key, load)
    with resources.model_lock:
        threading.Thread(target=resources._work, daemon=True).start()  # what `start` starts, and nothing to load but what is asked for here
        resources.want("slow", LATER)
        assert eventually(lambda: "resting" in resources.part("slow").detail)
        time.sleep(0.5)
        assert steps == [0]
    assert eventually(lambda: resources.part("slow").state == "ready")
    steps.clear()
    with resources.model_lock:
        resources.want("urgent")
        assert eventually(lambda: resources.part("urgent").state == "ready")
    assert steps == [0, 1, 2, 3]


def test_a_resting_part_makes_way_for_one_that_is_waited_for(tmp_path):
    resources = Resources(corpora=(str(write_corpus(tmp_path / "small")),), models=("fake",))
    resources._add("slow", "slow", lambda tell: [tell(str(step)) for step in range(3)])
    with resources.model_lock:
        threading.Thread(target=resources._work, daemon=True).start()  # what `start` starts, and nothing to load but what is asked for here
        resources.want("slow", LATER)
        assert eventually(lambda: "resting" in resources.part("slow").detail)
        resources.want("retriever:small:bm25+rm3")
        assert eventually(lambda: resources.part("retriever:small:bm25+rm3").state == "ready")


def eventually(holds, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(holds())


@pytest.mark.model
def test_the_embedded_student_takes_no_gpu_of_a_space(monkeypatch):
    """A ZeroGPU Space shows a GPU that costs quota; without any left, the student that needs none must go on."""
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    monkeypatch.setattr(choice, "machine", lambda: choice.Machine(cuda=True, cuda_name="ZeroGPU", bitsandbytes=True, onnx=True))
    scorer, generator = (_open_engine("dear-nano", stage, "auto") for stage in ("pointwise", "listwise"))
    assert (scorer.info.device, generator.info.device, generator.info.engine) == ("cpu", "cpu", "onnx")
    scorer.close()
    monkeypatch.delenv("SPACES_ZERO_GPU")
    four = _open_engine("dear-nano", "listwise", "onnx", "int4")  # what Compare opens for int4 on a machine with a GPU
    assert (four.info.precision, four.info.device) == ("int4", "cpu")


def test_a_precision_is_not_asked_of_a_server():
    resources = Resources(models=("openai:org/qwen@http://127.0.0.1:9/v1",))
    resources._load("generator:org/qwen:fp32")
    with pytest.raises(DearError, match="in the precision it has there"):
        resources.get("generator:org/qwen:fp32")
