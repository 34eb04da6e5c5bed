"""Readers: every row becomes a passage or an error that says where, what and how to mend it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.formats import Query, collect_passages, read_passages, read_queries
from corpora.rows import MAX_ROW_BYTES, RowError
from dear.errors import BadInput
from dear.types import Passage

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40).filter(str.strip)


def write(tmp_path, name, data):
    path = tmp_path / name
    raw = data.encode("utf-8") if isinstance(data, str) else data
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def test_jsonl_field_names(tmp_path):
    rows = [
        {"id": "a", "text": "one", "title": "T"}, {"_id": 7, "contents": "two"}, {"docid": "c", "content": "three"}, {"pid": "d", "passage": "four"},
        {"ID": "e", "Body": "five"}, {"text": "six"}, {"id": "g", "text": "", "contents": "seven", "title": None},
    ]  # fmt: skip
    path = write(tmp_path, "p.jsonl", "\n".join(map(json.dumps, rows)))
    assert [(p.id, p.title, p.text) for p in read_passages(path)] == [
        ("a", "T", "one"), ("7", "", "two"), ("c", "", "three"), ("d", "", "four"), ("e", "", "five"), ("row-6", "", "six"), ("g", "", "seven"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"id": "x"}', "no text"),
        ('{"id": "x", "text": "  "}', "the text is empty"),
        ('{"id": "x", "text": ["a"]}', "the text is a JSON list"),
        ('{"id": "x", "text": "a", "title": 3}', "the title is a JSON int"),
        ('{"id": 1.5, "text": "a"}', "the id is a JSON float"),
        ('{"id": true, "text": "a"}', "the id is a JSON bool"),
        ('{"id": "x", "text": "a\\u0000b"}', "NUL at character 1"),
        ('{"id": "x", "text": "a\\ud800b"}', "half a surrogate pair"),
        ('{"id": "x\\ny", "text": "a"}', "control character"),
        ('{"id": "x", "text": "a"', "not JSON"),
        ('"just text"', "a JSON str"),
        ("[" * 100_000, "not JSON"),
        ('{"id": "a", "text": "again"}', "id 'a' was used in row 1"),
        ('{"id": "x", "text": "' + "w" * 20_001 + '"}', "20,001 characters, the limit is 20,000"),
        ('{"id": "' + "w" * 201 + '", "text": "a"}', "201 characters, the limit is 200"),
    ],
)
def test_jsonl_bad_row(tmp_path, row, problem):
    path = write(tmp_path, "p.jsonl", f'{{"id": "a", "text": "good"}}\n{row}\n{{"id": "z", "text": "good too"}}\n')
    result = collect_passages(path)
    assert [p.id for p in result.passages] == ["a", "z"]
    (error,) = result.errors
    assert (error.file, error.row) == ("p.jsonl", 2)
    assert problem in error.problem
    assert error.remedy
    assert str(error) == f"p.jsonl, row 2: {error.problem}: {error.remedy}"
    with pytest.raises(RowError, match="row 2"):
        list(read_passages(path))


def test_a_document_of_a_title_alone_is_read_by_its_title(tmp_path):
    (found,) = read_passages(write(tmp_path, "p.jsonl", b'{"_id": "x", "title": "Only a title", "text": " "}'))
    assert (found.id, found.title, found.text) == ("x", "", "Only a title")


def test_error_is_bad_input_and_pickles():
    error = RowError("f", 3, "no text", "add it")
    assert isinstance(error, BadInput)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301


@pytest.mark.parametrize("name", ["p.jsonl", "p.tsv", "p.csv", "p.txt"])
def test_bytes_that_are_not_utf8(tmp_path, name):
    special = {"p.jsonl": (b'{"text": "a"}\n', b'{"text": "caf\xe9"}\n'), "p.txt": (b"a\n\n", b"caf\xe9\n\n")}
    good, bad = special.get(name, (b"1\ta\n", b"2\tcaf\xe9\n"))
    if name == "p.csv":
        good, bad = good.replace(b"\t", b","), bad.replace(b"\t", b",")
    last = good.replace(b"1", b"3")
    result = collect_passages(write(tmp_path, name, good + bad + last))
    assert len(result.passages) == 2
    (error,) = result.errors
    assert error.row == 2
    offset = len(good) + bad.index(b"\xe9")
    assert f"byte 0xe9 at byte offset {offset} is not UTF-8" in error.problem


@pytest.mark.parametrize("name", ["p.jsonl", "p.tsv", "p.csv", "p.txt"])
def test_bom_nul_utf16_and_empty(tmp_path, name):
    line = '{"text": "a"}' if name == "p.jsonl" else "text\na" if name != "p.txt" else "a"
    assert [p.text for p in read_passages(write(tmp_path, name, b"\xef\xbb\xbf" + line.encode()))] == ["a"]
    (error,) = collect_passages(write(tmp_path, name, line.encode("utf-16"))).errors[:1]
    assert error.row == 0
    assert "UTF-16" in error.problem
    errors = collect_passages(write(tmp_path, name, line.encode() + b"\n\nb\0c\n")).errors
    assert f"NUL byte at byte offset {len(line) + 3}" in errors[-1].problem
    for nothing in (b"", b"\n \n\n", b"\xef\xbb\xbf"):
        with pytest.raises(RowError, match="no rows"):
            list(read_passages(write(tmp_path, name, nothing)))


@pytest.mark.parametrize("name", ["p.jsonl", "p.tsv", "p.csv", "p.txt"])
def test_a_huge_row_is_one_error_and_the_rest_is_read(tmp_path, name):
    huge = b"x" * (3 * MAX_ROW_BYTES)
    rows = {"p.jsonl": [b'{"text": "a"}', huge, b'{"text": "b"}'], "p.txt": [b"a\n", huge + b"\n", b"b"]}.get(name, [b"a", huge, b"b"])
    result = collect_passages(write(tmp_path, name, b"\n".join(rows)))
    assert [p.text for p in result.passages] == ["a", "b"]
    assert [e.row for e in result.errors] == [2]
    assert "longer than 1,048,576 bytes" in result.errors[0].problem


def test_tables_with_and_without_header(tmp_path):
    want = [Passage("1", 'sky, "blue"', "T"), Passage("2", "sea", "U")]
    assert list(read_passages(write(tmp_path, "h.tsv", 'id\ttitle\ttext\n1\tT\tsky, "blue"\n2\tU\tsea\n'))) == want
    assert list(read_passages(write(tmp_path, "n.tsv.gz", '1\tT\tsky, "blue"\r\n2\tU\tsea\r\n'))) == want
    assert list(read_passages(write(tmp_path, "h.csv", 'Text,_id,Title,url\n"sky, ""blue""",1,T,x\nsea,2,U,y\n'))) == want
    assert list(read_passages(write(tmp_path, "s.csv", 'id;title;text\n1;T;"sky, ""blue"""\n2;U;sea\n')))[1:] == want[1:]
    assert [p.id for p in read_passages(write(tmp_path, "one.csv", "only text\nand more\n"))] == ["row-1", "row-2"]


def test_tables_bad_rows(tmp_path):
    result = collect_passages(write(tmp_path, "p.csv", 'id,text\n1,one\n2\n3,three,four\n4,"two\nlines"\n5,\n6,"six\n'))
    assert [(p.id, p.text) for p in result.passages] == [("1", "one"), ("4", "two\nlines")]
    assert [(e.row, e.problem.split(" (")[0]) for e in result.errors] == [
        (3, "1 columns, 2 are wanted"), (4, "3 columns, 2 are wanted"), (7, "the text is empty"), (8, "not CSV"),
    ]  # fmt: skip
    (error,) = collect_passages(write(tmp_path, "t.csv", "id,text,text\n1,a,b\n")).errors
    assert "'text' twice" in str(error)
    (error,) = collect_passages(write(tmp_path, "w.tsv", "a\tb\tc\td\n")).errors
    assert "4 columns and no header" in str(error)
    assert collect_passages(write(tmp_path, "h.tsv", "id\ttitle\n1\tx\n")).errors[0].problem == "no text"


def test_header_alone_is_an_empty_file(tmp_path):
    with pytest.raises(RowError, match="no rows"):
        list(read_passages(write(tmp_path, "p.csv", "id,text\n")))


def test_txt_paragraphs(tmp_path):
    path = write(tmp_path, "p.txt", "one\nline two \n\n \n\n  second\n\n")
    assert [(p.id, p.text) for p in read_passages(path)] == [("row-1", "one line two"), ("row-2", "second")]


def test_json_array_unknown_ending_missing_file_and_damaged_gzip(tmp_path):
    with pytest.raises(RowError, match="one JSON array"):
        list(read_passages(write(tmp_path, "p.json", '[{"text": "a"},\n{"text": "b"}]')))
    with pytest.raises(BadInput, match=r"'p.pdf' is none of .csv"):
        list(read_passages(write(tmp_path, "p.pdf", "x")))
    with pytest.raises(BadInput, match="cannot be opened"):
        list(read_passages(tmp_path / "none.jsonl"))
    rows = "".join(json.dumps({"id": str(i), "text": f"passage {i * 7919}"}) + "\n" for i in range(5000))
    path = write(tmp_path, "p.jsonl.gz", rows)
    path.write_bytes(path.read_bytes()[:-2000])
    result = collect_passages(path)
    assert len(result.passages) > 100
    assert "damaged after row" in str(result.errors[-1])


def test_limit_on_passages(tmp_path):
    result = collect_passages(write(tmp_path, "p.txt", "a\n\nb\n\nc\n\nd"), max_passages=2)
    assert [p.text for p in result.passages] == ["a", "b"]
    assert "more than 2 passages (row 3 and on are not read)" in str(result.errors[-1])


def test_reading_streams(tmp_path):
    path = write(tmp_path, "p.jsonl", '{"text": "first"}\nnot json\n')
    assert next(read_passages(path)).text == "first"


def test_queries(tmp_path):
    first = '{"id": "1", "text": "why?", "split": "dev", "topic": "sky", "tags": ["how-why"]}'
    path = write(tmp_path, "q.jsonl", first + '\n{"qid": 2, "query": "what"}\n')
    assert list(read_queries(path)) == [Query("1", "why?", "dev", "sky", ("how-why",)), Query("2", "what")]
    assert list(read_queries(write(tmp_path, "q.tsv", "1\twhy\n"))) == [Query("1", "why")]
    with pytest.raises(RowError, match="twice"):
        list(read_queries(write(tmp_path, "d.tsv", "1\ta\n1\tb\n")))


@given(st.lists(st.one_of(TEXT.map(lambda t: json.dumps({"text": t}).encode()), st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")))))
def test_no_jsonl_row_is_lost(tmp_path_factory, rows):
    rows = [b"0", *rows]
    path = tmp_path_factory.mktemp("rows") / "p.jsonl"
    path.write_bytes(b"\n".join(rows))
    result = collect_passages(path)
    if all(error.row for error in result.errors):
        assert len(result.passages) + len(result.errors) == sum(bool(row.strip()) for row in rows)
    else:  # the file as a whole was refused
        assert "JSON array" in str(result.errors[-1])


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_csv_round_trip(tmp_path_factory, rows):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("title", "text"), *rows])
    path = tmp_path_factory.mktemp("rows") / "p.csv"
    path.write_bytes(buffer.getvalue().encode("utf-8"))
    result = collect_passages(path)
    assert not result.errors
    assert [(p.title, p.text) for p in result.passages] == [(title.strip(), text) for title, text in rows]


@given(st.lists(st.lists(TEXT, min_size=1, max_size=4), min_size=1), st.sampled_from(["p.tsv", "p.csv"]))
def test_no_table_row_is_lost(tmp_path_factory, rows, name):
    delimiter = "\t" if name == "p.tsv" else ","
    lines = ["id" + delimiter + "text", *(delimiter.join(" ".join(_words(cell)) for cell in row) for row in rows)]
    path = tmp_path_factory.mktemp("rows") / name
    path.write_bytes("\n".join(lines).encode("utf-8"))
    result = collect_passages(path)
    assert len(result.passages) + len(result.errors) == len(rows)


def _words(cell: str) -> list[str]:
    """The cell's words without what would part cells or lines."""
    return ("x" + cell.replace("\t", " ").replace(",", " ").replace('"', " ").replace("\n", " ").replace("\r", " ").replace("\0", " ")).split(" ")
