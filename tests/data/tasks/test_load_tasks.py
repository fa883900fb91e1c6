"""Records from public sets and from the user's files: what a row makes, and what is refused."""

import gzip
import hashlib
import json
from dataclasses import asdict

import datasets
import pytest
from pydantic import TypeAdapter

from lmlab.data.contamination import document_overlap
from lmlab.data.schema import Named, TaskConfig
from lmlab.data.tasks.load import (
    load_dialogues,
    load_instructions,
    load_pairs,
    load_problems,
    load_reviews,
)
from lmlab.data.tasks.named import gold_answer, split_transcripts
from lmlab.data.tasks.records import Dialogue, Pair, Problem, Review, TaskSplit
from lmlab.data.text import load_documents

SECRET = "unspeakable"


def _config(**values):
    return TypeAdapter(TaskConfig).validate_python(values)


def _named(name, **values):
    return _config(kind="named", name=name, **values)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LMLAB_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def _write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


# --- rows of each form ---


def test_a_transcript_pair_is_cut_at_its_last_answer(folder):
    first = f"\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: {SECRET}?\n\nAssistant:"
    rows = [
        {"chosen": f"{first} No.", "rejected": f"{first} Sure."},
        {"chosen": "\n\nHuman: A\n\nAssistant: B", "rejected": "\n\nHuman: Z\n\nAssistant: B"},
        {"chosen": "\n\nHuman: C\n\nAssistant: D", "rejected": "\n\nHuman: C\n\nAssistant:"},
    ]
    _write(folder / "hh-rlhf" / "harmless-base.test.jsonl.gz", rows)
    found = load_pairs(_named("hh_rlhf"), "test")
    assert [asdict(one) for one in found.records] == [
        {
            "id": "hh_rlhf/test/0",
            "prompt": f"Human: Hi\n\nAssistant: Yes?\n\nHuman: {SECRET}?",
            "chosen": "No.",
            "rejected": "Sure.",
            "input": "",
        },
        {
            "id": "hh_rlhf/test/2",
            "prompt": "Human: C",
            "chosen": "D",
            "rejected": "",
            "input": "",
        },
    ]
    assert found.dropped == {"the two transcripts differ before the last turn": 1}
    assert (found.name, found.data_kind, found.licence) == ("hh_rlhf", "real", "MIT")


def test_a_transcript_without_an_answer_has_no_prompt():
    assert split_transcripts("\n\nHuman: A", "\n\nHuman: A") is None
    assert split_transcripts("\n\nHuman: A\n\nAssistant: x", "\n\nHuman: A") is None


def test_what_a_pair_says_is_in_no_message(folder):
    assert SECRET not in repr(Pair("one", SECRET, SECRET, SECRET))
    path = folder / "hh-rlhf" / "harmless-base.test.jsonl"
    for rows in ([{"chosen": SECRET}], [{"chosen": SECRET, "rejected": [SECRET]}]):
        _write(path, rows)
        with pytest.raises(ValueError, match="hh_rlhf/test/0 is no transcripts row") as error:
            load_pairs(_named("hh_rlhf"), "test")
        assert SECRET not in str(error.value)
        assert error.value.__cause__ is None
    path.write_text(f'{{"chosen": "{SECRET}')
    with pytest.raises(ValueError, match=r"test\.jsonl:1 is no JSON") as error:
        load_pairs(_named("hh_rlhf"), "test")
    assert SECRET not in str(error.value)
    with pytest.raises(ValueError, match="half a character") as error:
        TaskSplit(
            name="x", split="test", records=[Pair("1", SECRET, "\ud800", "")],
            data_kind="real", licence="", dropped={},
        )  # fmt: skip
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None


def test_conversations_of_several_questions_become_a_transcript(folder):
    def turn(speaker, text):
        return {"from": speaker, "value": text}

    answers = {"chosen": turn("gpt", "good"), "rejected": turn("gpt", "bad")}
    rows = [
        {"conversations": [turn("human", "One?")], **answers},
        {"conversations": [turn("system", "Be brief."), turn("human", "Two?")], **answers},
        {
            "conversations": [turn("human", "A?"), turn("gpt", "B."), turn("human", "C?")],
            **answers,
        },
    ] + [{"conversations": [turn("human", "rest")], **answers}] * 97
    (folder / "llamafactory-demo").mkdir()
    (folder / "llamafactory-demo" / "dpo_en_demo.json").write_text(json.dumps(rows))
    found = load_pairs(_named("dpo_demo"), "test")
    assert [one.prompt for one in found.records[:3]] == [
        "One?",
        "Be brief.\n\nTwo?",
        "Human: A?\n\nAssistant: B.\n\nHuman: C?",
    ]
    assert {(one.chosen, one.rejected) for one in found.records} == {("good", "bad")}
    assert len(found.records) == len(load_pairs(_named("dpo_demo"), "validation").records) == 50
    with pytest.raises(ValueError, match="the train split of dpo_demo holds no record"):
        load_pairs(_named("dpo_demo"), "train")


def test_a_problem_has_the_number_behind_its_mark(folder):
    _write(
        folder / "gsm8k" / "test.jsonl", [{"question": "How many?", "answer": "So.\n#### 1,234"}]
    )
    assert load_problems(_named("gsm8k"), "test").records == [
        Problem("gsm8k/test/0", "How many?", "So.\n#### 1,234", "1234")
    ]
    _write(folder / "gsm8k" / "test.jsonl", [{"question": "How many?", "answer": "#### many"}])
    with pytest.raises(ValueError, match="gsm8k/test/0 is no gsm8k row"):
        load_problems(_named("gsm8k"), "test")


@pytest.mark.parametrize(
    ("solution", "answer"),
    [("#### -3", "-3"), ("5 eggs\n#### 2.50", "2.50"), ("12", None), ("#### ", None),
     ("#### $5", None), ("#### 5 eggs", None), ("#### 1\n#### 2", "2")],
)  # fmt: skip
def test_a_gold_answer_is_a_number_or_nothing(solution, answer):
    assert gold_answer(solution) == answer


def test_a_review_is_a_label_and_the_rest_of_its_line(folder):
    (folder / "sst2-sentences").mkdir()
    (folder / "sst2-sentences" / "stsa.binary.dev").write_text(
        "1 good \u2028 fun .\n0 2 hours lost\n"
    )
    assert load_reviews(_named("sst2"), "validation").records == [
        Review("sst2/validation/0", "good \u2028 fun .", "positive"),
        Review("sst2/validation/1", "2 hours lost", "negative"),
    ]
    (folder / "sst2-sentences" / "stsa.binary.dev").write_text("-1 hidden\n")
    with pytest.raises(ValueError, match="sst2/validation/0 is no sst2 row"):
        load_reviews(_named("sst2"), "validation")


def test_a_dialogue_has_every_reference_that_its_rows_hold(folder):
    three = {"dialogue": "A: x\r\nB: y", "summary1": "1", "summary2": "2", "summary3": "3"}
    _write(folder / "dialogsum" / "dialogsum.test.jsonl", [three])
    assert load_dialogues(_named("dialogsum"), "test").records == [
        Dialogue("dialogsum/test/0", "A: x\r\nB: y", ("1", "2", "3"))
    ]


def test_rows_of_one_dialogue_are_its_references_in_a_saved_data_set(folder):
    table = datasets.Dataset.from_dict(
        {"id": [0, 1, 2, 3], "dialogue": ["x", "x", "y", "x"], "summary": ["1", "2", "3", "4"]}
    )
    datasets.DatasetDict({"test": table}).save_to_disk(str(folder / "dialogsum"))
    found = load_dialogues(_named("dialogsum"), "test").records
    assert [(one.dialogue, one.summaries) for one in found] == [
        ("x", ("1", "2")), ("y", ("3",)), ("x", ("4",)),
    ]  # fmt: skip
    two = load_dialogues(_named("dialogsum", max_records=1), "test").records
    assert two == found[:1]


def test_a_saved_data_set_without_a_column_is_an_error_that_names_it(folder):
    table = datasets.Dataset.from_dict({"question": ["a"]})
    datasets.DatasetDict({"test": table}).save_to_disk(str(folder / "gsm8k"))
    with pytest.raises(ValueError, match="gsm8k has no column answer, only question"):
        load_problems(_named("gsm8k"), "test")


# --- what is not there ---


def test_an_unknown_or_unfit_name_says_what_there_is(folder):
    with pytest.raises(
        ValueError, match="no set of problem records is named 'gsm8'; did you mean gsm8k"
    ):
        load_problems(_named("gsm8"), "test")
    with pytest.raises(ValueError, match="gsm8k holds no pair records; sets that do: dpo_demo, hh"):
        load_pairs(_named("gsm8k"), "test")
    with pytest.raises(ValueError, match="wikitext2 holds no instruction records"):
        load_instructions(_named("wikitext2"), "test")
    with pytest.raises(ValueError, match="no split is named 'dev'"):
        load_pairs(_named("hh_rlhf"), "dev")


def test_a_set_of_records_is_no_text(folder):
    with pytest.raises(ValueError, match="gsm8k holds gsm8k rows, not text: name it for a task"):
        load_documents(Named(kind="named", name="gsm8k"), "test")


def test_a_missing_file_says_in_one_line_where_it_was_looked_for(folder):
    (folder / "else").touch()
    for name, load, wanted in [
        ("alpaca_demo", load_instructions, "llamafactory-demo/alpaca_en_demo.json"),
        ("hh_rlhf_demo", load_pairs, "hh-rlhf/harmless-base.test.jsonl"),
        ("dialogsum_demo", load_dialogues, "dialogsum/dialogsum.test.jsonl"),
    ]:
        with pytest.raises(ValueError, match="holds none of") as error:
            load(_named(name), "test")
        assert wanted in str(error.value)
        assert "not on the hub" in str(error.value)
        assert "\n" not in str(error.value)


# --- the user's own ---


def test_own_records_are_json_lines_or_a_list(tmp_path):
    rows = [{"id": "a", "text": "fine", "label": "positive"}, {"text": "bad", "label": "negative"}]
    _write(tmp_path / "a.jsonl", rows)
    (tmp_path / "b.json").write_text(json.dumps(rows[1:]))
    config = _config(kind="files", train=(str(tmp_path / "*.json*"),))
    found = load_reviews(config, "train")
    assert found.records == [
        Review("a", "fine", "positive"),
        Review("train/1", "bad", "negative"),
        Review("train/2", "bad", "negative"),
    ]
    assert found.data_kind == "real"
    with pytest.raises(ValueError, match="no test files are given"):
        load_reviews(config, "test")


@pytest.mark.parametrize(
    ("row", "fault"),
    [({"text": "x"}, "label"), ({"text": "x", "label": "good"}, "label"),
     ({"text": 3, "label": "positive"}, "text"),
     ({"text": "x", "label": "positive", "stars": 4}, "stars")],
)  # fmt: skip
def test_an_unfit_row_of_ones_own_is_named_with_its_field(tmp_path, row, fault):
    _write(tmp_path / "a.jsonl", [{"text": "x", "label": "positive"}, row])
    config = _config(kind="files", train=(str(tmp_path / "a.jsonl"),))
    with pytest.raises(ValueError, match=rf"a\.jsonl: row 1 is no review record.*look at {fault}"):
        load_reviews(config, "train")


def test_own_summaries_are_a_list_of_texts(tmp_path):
    path = tmp_path / "a.jsonl"
    config = _config(kind="files", train=(str(path),))
    _write(path, [{"dialogue": "A: x", "summaries": ["1", "2"]}])
    assert load_dialogues(config, "train").records[0].summaries == ("1", "2")
    _write(path, [{"dialogue": "A: x", "summaries": []}])
    with pytest.raises(ValueError, match="look at summaries"):
        load_dialogues(config, "train")


# --- splits ---


def _split(*records):
    return TaskSplit(
        name="toy", split="test", records=list(records), data_kind="real", licence="", dropped={}
    )


def test_the_hash_is_that_of_the_records_in_their_order():
    one, other = Review("1", "ä", "positive"), Review("2", "b", "negative")
    content = (
        '[{"id": "1", "text": "ä", "label": "positive"}, '
        '{"id": "2", "text": "b", "label": "negative"}]'
    )
    assert _split(one, other).sha256 == hashlib.sha256(content.encode()).hexdigest()
    assert _split(other, one).sha256 != _split(one, other).sha256


def test_an_id_is_used_once_and_a_split_is_not_empty():
    with pytest.raises(ValueError, match="2 records of the id '1'"):
        _split(Review("1", "a", "positive"), Review("1", "b", "positive"))
    with pytest.raises(ValueError, match="holds no record"):
        _split()


def test_a_leaked_record_is_found_among_the_documents():
    kept = _split(Review("1", "a fine day", "positive"), Review("2", "a bad day", "negative"))
    leaked = _split(Review("9", "A bad day!", "negative"))
    assert document_overlap(kept.documents, leaked.documents).tolist() == [False, True]
