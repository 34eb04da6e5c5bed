"""The rooms and who may enter which: dear <- corpora <- training, demo <- app."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("dear", "corpora", "training", "demo", "app")
MAY_IMPORT = {"dear": set(), "corpora": {"dear"}, "training": {"dear", "corpora"}, "demo": {"dear", "corpora"}, "app": {"demo"}}
CORPORA_SEES = {"dear.types", "dear.errors", "dear"}
HEAVY = {"torch", "peft", "transformers", "datasets", "pyserini", "sentence_transformers", "onnxruntime", "onnxruntime_genai", "jnius", "faiss"}
HEAVY_AT_TOP = ("dear/engines/", "training/")
MAX_LINES = 400


def modules():
    return sorted(path for room in ROOMS[:-1] for path in (ROOT / room).rglob("*.py")) + [ROOT / "app.py"]


def imports(path, *, top_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_the_rooms_below_it(path):
    name = path.relative_to(ROOT).as_posix()
    room = name.split("/")[0].removesuffix(".py")
    seen = {imported.split(".")[0] for imported in imports(path)} & set(ROOMS) - {room}
    assert seen <= MAY_IMPORT[room]
    if room != "demo":
        assert not any(imported.split(".")[0] == "gradio" for imported in imports(path))
    if room == "corpora":
        used = {".".join(imported.split(".")[:2]) for imported in imports(path) if imported.startswith("dear.")}
        assert used <= CORPORA_SEES
    if not name.startswith(HEAVY_AT_TOP):
        assert not {imported.split(".")[0] for imported in imports(path, top_only=True)} & HEAVY


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_readable(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES
    assert ast.get_docstring(ast.parse(text)), "a module opens with what it is for"


def test_nothing_unsafe_is_loaded():
    bad = re.compile(r"trust_remote_code\s*=\s*True|pickle\.load|share\s*=\s*True|sanitize_html\s*=\s*False|allow_pickle\s*=\s*True")
    assert [str(path) for path in modules() if bad.search(path.read_text(encoding="utf-8"))] == []


def test_the_tracked_tree_is_small():
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a git checkout")
    total = sum((ROOT / name).stat().st_size for name in files.stdout.split("\0") if name and (ROOT / name).exists())
    assert total < 40 * 2**20
