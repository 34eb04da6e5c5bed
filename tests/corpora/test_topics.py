"""Topics files of every kind the benchmarks use, through Anserini's own readers."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpora.topics import Topic, fetch_qrels, fetch_topics, read_topics
from corpora.trec import read_qrels
from dear.errors import BadInput

ROOT = Path(__file__).parents[2]


def test_tsv_with_words_or_numbers_as_ids(tmp_path):
    file = tmp_path / "topics.tsv"
    file.write_text("20\twhat is light\nq-7\thow deep\t\n3\tcafé\n", encoding="utf-8")
    assert list(read_topics(file).values()) == [Topic("3", "café"), Topic("20", "what is light"), Topic("q-7", "how deep")]
    file.write_text("20\twhat is light\n3\tcafé\n", encoding="utf-8")
    assert list(read_topics(file, "TsvInt")) == ["3", "20"]


def test_compressed(tmp_path):
    file = tmp_path / "topics.beir-v1.0.0-scifact.test.tsv.gz"
    file.write_bytes(gzip.compress(b"1\tzinc helps\n"))
    assert read_topics(file) == {"1": Topic("1", "zinc helps")}


def test_questions_with_answers(tmp_path):
    rows = [{"question": "who wrote it", "answer": ['Ann "A" O\'Neil', "Bo"]}, {"question": "when", "answer": ["1504"]}]
    file = tmp_path / "nq.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = read_topics(file, "DprJsonl")
    assert found["0"] == Topic("0", "who wrote it", ('Ann "A" O\'Neil', "Bo"))
    assert found["1"].answers == ("1504",)


def test_dprs_own_format(tmp_path):
    file = tmp_path / "nq-test.qa.csv"
    file.write_text("who wrote it\t['Ann', 'Bo']\n", encoding="utf-8")
    assert read_topics(file, "DprNq")["0"] == Topic("0", "who wrote it", ("Ann", "Bo"))


def test_errors(tmp_path):
    file = tmp_path / "topics.tsv"
    file.write_text("1\tx\n", encoding="utf-8")
    with pytest.raises(BadInput, match="is not a file"):
        read_topics(tmp_path / "none.tsv")
    for reader in ("No", "../x", "TsvString;"):
        with pytest.raises(BadInput):
            read_topics(file, reader)
    file.write_text("not json\n", encoding="utf-8")
    with pytest.raises(BadInput):
        read_topics(file, "DprJsonl")


def test_unknown_constants():
    with pytest.raises(BadInput, match="no topics 'NOTHING'"):
        fetch_topics("NOTHING")
    with pytest.raises(BadInput, match="no judgments 'NOTHING'"):
        fetch_qrels("NOTHING")


def test_every_constant_of_the_registry_is_known_to_anserini_and_every_index_to_pyserini():
    from corpora.jvm import in_java, java_class
    from corpora.prebuilt import prebuilt_names
    from dear.evaluation.benchmarks import BENCHMARKS

    @in_java
    def names(enum):
        return {str(value.toString()) for value in java_class(enum).values()}

    @in_java
    def reader(constant):
        known = java_class("io.anserini.search.topicreader.Topics").valueOf(constant)
        return known.readerClass.getName().rpartition(".")[2].removesuffix("TopicReader")

    topics, qrels = names("io.anserini.search.topicreader.Topics"), names("io.anserini.eval.Qrels")
    rows = [row for row in BENCHMARKS.values() if row.index]
    assert len(rows) == 11
    assert {row.topics for row in rows} <= topics
    assert {row.name: row.reader for row in rows} == {row.name: reader(row.topics) for row in rows}
    assert {row.qrels for row in rows if not row.by_answer} <= qrels
    assert {row.index for row in rows} <= set(prebuilt_names())


@pytest.mark.network
@pytest.mark.parametrize("constant", ["TREC2019_DL_PASSAGE", "BEIR_V1_0_0_SCIFACT_TEST"])
def test_fetched_for_real(constant):
    topics, qrels = fetch_topics(constant), read_qrels(fetch_qrels(constant))
    assert set(qrels) <= set(topics)
    assert all(topic.text for topic in topics.values())


def test_a_download_that_fails_says_so_and_prints_nothing(tmp_path):
    """In a process of its own, whose cache and proxy lead nowhere."""
    code = (
        "from corpora.topics import fetch_qrels\n"
        "from corpora.jvm import in_java, java_class\n"
        "from dear.errors import IndexFailure\n"
        "@in_java\n"
        "def nowhere():\n"
        "    for name, value in (('https.proxyHost', '127.0.0.1'), ('https.proxyPort', '9'), ('user.home', '/nonexistent')):\n"
        "        java_class('java.lang.System').setProperty(name, value)\n"
        "nowhere()\n"
        "try:\n"
        "    fetch_qrels('BEIR_V1_0_0_SCIFACT_TEST')\n"
        "except IndexFailure as error:\n"
        "    assert '--data' in str(error)\n"
        "else:\n"
        "    raise SystemExit('it did not fail')\n"
    )
    environment = {**os.environ, "ANSERINI_TOPICS_CACHE": str(tmp_path), "PYSERINI_CACHE": str(tmp_path), "HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
