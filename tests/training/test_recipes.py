"""A bad recipe is one clear error before any compute; a good one comes back from disk the same."""

from __future__ import annotations

import pytest
import yaml

from dear.errors import BadInput
from training import recipes


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_load_and_come_back_the_same(name, tmp_path):
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipes.load(recipes.save(recipe, tmp_path)) == recipe
    written = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert written["pointwise"]["lora_dropout"] == recipe.pointwise.lora_dropout  # defaults are written out


def test_the_papers_settings():
    for name in ("3b", "8b"):
        recipe = recipes.load(name)
        one, two = recipe.pointwise, recipe.listwise
        assert (one.cross_entropy, one.ranknet, one.kl, one.temperature) == (0.1, 0.1, 0.9, 2.0)
        assert (one.lora_rank, one.lora_alpha, one.lora_dropout, one.learning_rate, one.epochs) == (32, 64, 0.1, 1e-4, 2)
        assert one.lora_targets == ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        assert (one.q_len, one.p_len) == (32, 196)
        assert (two.lora_rank, two.lora_alpha, two.learning_rate, two.scheduler, two.warmup_ratio, two.quantise) == (
            16,
            32,
            1e-4,
            "cosine",
            0.1,
            "nf4",
        )
        assert recipe.cot.rows == 20_000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pointwise.lerning_rate=1", "unknown key 'pointwise.lerning_rate'.*did you mean 'learning_rate'"),
        ("ponitwise.seed=1", "unknown key 'ponitwise'.*did you mean 'pointwise'"),
        ("pointwise.epochs=many", "pointwise.epochs is 'many' .*expected float"),
        ("pointwise.seed=true", "pointwise.seed is True .*expected int"),
        ("pointwise.layers=2.5", "pointwise.layers is 2.5 .*expected int"),
        ("pointwise.lora_dropout=3", "pointwise.lora_dropout is 3.0, the most is 0.9"),
        ("pointwise.kl=-1", "pointwise.kl is -1.0, the least is 0"),
        ("pointwise.kl=.inf", "finite"),
        ("pointwise=3", "pointwise is 3, expected a section"),
        ("listwise.dev=", "listwise.dev is None .*expected str, for none write ''"),
        ("listwise.prompt=latin", "listwise.prompt is 'latin': use one of nano, dear"),
        ("listwise.lora_targets=q_proj", "expected a list"),
        ("data.train=squad", "expected a mapping"),
        ("data.train={squad: many}", "data.train.squad is 'many'"),
        ("cot.min_k=9", r"cot.min_k 9 exceeds cot.max_k"),
        ("name.first=x", "is a value, not a section"),
        ("pointwise.seed", "has no '='"),
        ("cot.out=[", "not YAML"),
    ],
)
def test_a_bad_override_is_named(override, message):
    with pytest.raises(BadInput, match=message):
        recipes.load("nano-cpu", ["cot.max_k=8", override])


def test_overrides_are_typed():
    recipe = recipes.load(
        "nano-cpu", ["pointwise.learning_rate=1e-3", "pointwise.layers=null", "listwise.lora_targets=[q_proj]", "data.train={squad: 5}"]
    )
    assert recipe.pointwise.learning_rate == 1e-3
    assert recipe.pointwise.layers is None
    assert recipe.listwise.lora_targets == ("q_proj",)
    assert recipe.data.train == {"squad": 5}


def test_unknown_and_broken_recipes(tmp_path):
    with pytest.raises(BadInput, match=r"neither a file nor one of.*nano-cpu"):
        recipes.load("nano-tpu")
    (tmp_path / "x.yaml").write_text("- a\n")
    with pytest.raises(BadInput, match="not a mapping"):
        recipes.load(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(BadInput, match="cannot be read as YAML"):
        recipes.load(tmp_path / "x.yaml")


def test_a_file_may_leave_out_what_it_does_not_change(tmp_path):
    (tmp_path / "mine.yaml").write_text("pointwise: {lora_rank: 8}\n")
    recipe = recipes.load(tmp_path / "mine.yaml")
    assert recipe.name == "mine"
    assert recipe.pointwise.lora_rank == 8
    assert recipe.listwise == recipes.Listwise()


def test_missing_data_says_how_to_make_it(base, tmp_path):
    recipe = recipes.load("nano-cpu", [f"model.base={base}", "model.base_sha256=''", f"pointwise.train={tmp_path}/none.jsonl"])
    with pytest.raises(BadInput, match=r"pointwise.train .*none.jsonl' does not exist: make it with `python -m training mine"):
        recipes.check(recipe, "pointwise")
    (tmp_path / "none.jsonl").write_text("")
    assert recipes.check(recipe, "pointwise") == base
    with pytest.raises(BadInput, match="every loss weight"):
        recipes.check(
            recipes.load("nano-cpu", [f"pointwise.train={tmp_path}/none.jsonl", *(f"pointwise.{x}=0" for x in ("cross_entropy", "ranknet", "kl"))]),
            "pointwise",
        )


def test_base_is_checked_by_its_digest(base):
    good = recipes.load("nano-cpu", [f"model.base={base}", f"model.base_sha256={recipes.digest(str(base))}"])
    assert recipes.check(good, "base") == base
    bad = recipes.load("nano-cpu", [f"model.base={base}"])
    with pytest.raises(BadInput, match=r"base_sha256 is b179c9523d0e…, .* has .*use the base the recipe names"):
        recipes.check(bad, "base")
    with pytest.raises(BadInput, match="does not exist"):
        recipes.check(recipes.load("nano-cpu", ["model.base=/none/here"]), "base")


def test_data_folder_comes_from_the_environment_first(monkeypatch):
    recipe = recipes.load("nano-cpu")
    monkeypatch.delenv("DEAR_DATA", raising=False)
    assert str(recipe.data.folder) == "data"
    monkeypatch.setenv("DEAR_DATA", "/elsewhere")
    assert str(recipe.data.folder) == "/elsewhere"
