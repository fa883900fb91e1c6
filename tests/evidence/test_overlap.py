"""How much of a scored text was trained on is said beside the number that it belongs to."""

from sample_records import make_record

from lmlab.engine.records import Record
from lmlab.evidence.tables import build_tables
from lmlab.evidence.verdict import judge, overlaps_of

AT = {"split": "test"}
SCORED = make_record(at=AT, data={"train": "a", "test": "b", "tokenizer": "c"})


def overlap(**changes: object) -> Record:
    """Of the 13-grams."""
    values = {
        "metric": "overlap_13gram_share", "arm": "training text", "weights": {}, "weightless": True,
        "at": AT, "data": {"train": "a", "test": "b"}, "value": 0.0123, "interval": None,
    }  # fmt: skip
    return make_record(**(values | changes))


def test_the_verdict_says_what_of_its_text_was_trained_on():
    found = judge(build_tables([SCORED, overlap()]))
    assert found.record == SCORED
    assert found.caveats == (
        "Overlap 13gram share of the scored text with the training text: 1.23%.",
    )
    assert judge(build_tables([SCORED])).caveats == ()


def test_the_overlap_of_another_text_stands_beside_no_number():
    others = [
        overlap(data={"train": "a", "test": "other"}),
        overlap(data={"train": "other", "test": "b"}),
        overlap(at={"split": "validation"}),
    ]
    assert overlaps_of(SCORED, build_tables([SCORED, *others])) == []
    own = overlap()
    assert overlaps_of(SCORED, build_tables([*others, own, SCORED])) == [own]
