"""Tests of the interpreter's documentation as text."""

import inspect
import json.decoder
import textwrap

import pytest

from lmlab.data.pydocs import pydocs


@pytest.fixture(scope="module")
def splits():
    return {split: pydocs(split) for split in ("train", "validation", "test")}


def test_it_is_about_two_megabytes_of_text(splits):
    characters = {split: sum(map(len, documents)) for split, documents in splits.items()}
    assert 1_200_000 < sum(characters.values()) < 3_500_000
    assert characters["train"] > 10 * characters["validation"] > 0
    assert characters["train"] > 10 * characters["test"] > 0


def test_no_document_is_in_two_splits(splits):
    train, validation, test = (set(documents) for documents in splits.values())
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_docstrings_are_what_the_modules_say_of_themselves(splits):
    together = "\n".join(one for documents in splits.values() for one in documents)
    assert f"textwrap.wrap(text, width=70, **kwargs)\n\n{inspect.getdoc(textwrap.wrap)}" in together
    assert inspect.getdoc(json.decoder.JSONDecoder) in together


def test_topics_are_among_the_documents(splits):
    starts = [one[:60] for documents in splits.values() for one in documents]
    assert any(start.startswith('The "assert" statement') for start in starts)
