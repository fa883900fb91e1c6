"""How much of an evaluation text the training text holds: word n-grams, documents, world facts.

What is looked for is kept, what is searched streams past: memory grows with the evaluation text
alone.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from lmlab.data.stories import Story

# Of Brown et al. 2020 (GPT-3), appendix C.
NGRAM = 13
WORDS = "runs of letters and digits, case folded"
FACTS = "villages; heroes with what they like; things with their colour"
_WORD = re.compile(r"\w+")
# Odd: an even one would push the first words of an n-gram out of the 64 bits.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Overlap:
    """Of each evaluated document: how many pieces it has, and how many occur in training."""

    shared: Int64[np.ndarray, "documents"]
    pieces: Int64[np.ndarray, "documents"]

    @property
    def share(self) -> float:
        """Of all pieces; 0 where there are none."""
        return float(self.shared.sum() / max(1, self.pieces.sum()))


def ngram_overlap(
    documents: Sequence[str], training: Iterable[str], *, length: int = NGRAM
) -> Overlap:
    """The n-grams of each document, one a position; none cross from one document into the next."""
    known = _hashes(documents)
    grams = [_grams(document, known, length) for document in documents]
    wanted = np.unique(np.concatenate(grams))
    seen = np.zeros(wanted.size, dtype=bool)
    for document in training:
        seen[_places(_grams(document, known, length), wanted)] = True
    leaked = wanted[seen]
    return Overlap(
        shared=np.array([np.isin(one, leaked).sum() for one in grams], dtype=np.int64),
        pieces=np.array([one.size for one in grams], dtype=np.int64),
    )


def document_overlap(
    documents: Sequence[str], training: Iterable[str]
) -> Bool[np.ndarray, "documents"]:
    """Which documents are in training as a whole, word for word."""
    digests = [_digest(document) for document in documents]
    leaked = set(digests).intersection(_digest(document) for document in training)
    leaked.discard(_digest(""))  # what holds no word tells nothing
    return np.array([digest in leaked for digest in digests], dtype=bool)


def story_facts(story: Story) -> frozenset[str]:
    """The named facts of its world, by which the splits of the stories differ."""
    world = story.world
    things = {thing for event in story.events for thing in (event.what, event.goods) if thing}
    return frozenset(
        {
            f"village {world.village}",
            f"village {world.elsewhere}",
            f"hero {world.hero.name}: {world.hero.likes}",
            *(f"thing {one.looks.split()[-1]} {one.noun}" for one in things if one.looks),
        }
    )


def shared_facts(facts: Sequence[frozenset[str]], training: Iterable[Story]) -> frozenset[str]:
    """Those of the facts that some training story has too."""
    wanted = frozenset[str]().union(*facts)
    return frozenset[str]().union(*(story_facts(story) & wanted for story in training))


def fact_overlap(facts: Sequence[frozenset[str]], shared: frozenset[str]) -> Overlap:
    """The facts of each story, against those that `shared_facts` found."""
    return Overlap(
        shared=np.array([len(one & shared) for one in facts], dtype=np.int64),
        pieces=np.array([len(one) for one in facts], dtype=np.int64),
    )


def _hashes(documents: Sequence[str]) -> dict[str, int]:
    """64 bits a word, the same in every process."""
    words = {word for document in documents for word in _words(document)}
    digests = {one: hashlib.blake2b(one.encode(), digest_size=8).digest() for one in words}
    return {word: int.from_bytes(digest, "little") for word, digest in digests.items()}


def _grams(document: str, known: Mapping[str, int], length: int) -> UInt64[np.ndarray, "grams"]:
    """Polynomials of the words' hashes; 0 for a word that no evaluated document has."""
    words = _words(document)
    hashes = np.fromiter((known.get(word, 0) for word in words), np.uint64, len(words))
    count = max(0, hashes.size - length + 1)
    grams = np.zeros(count, np.uint64)
    for place in range(length):
        # Multiplication modulo 2^64 is what is wanted.
        grams = grams * _MULTIPLIER + hashes[place : place + count]
    return grams


def _places(
    found: UInt64[np.ndarray, "grams"], wanted: UInt64[np.ndarray, "wanted"]
) -> Int64[np.ndarray, "hits"]:
    """Where in `wanted`, which is sorted, those of `found` lie that are in it."""
    at = np.searchsorted(wanted, found)
    inside = at < wanted.size
    return at[inside][wanted[at[inside]] == found[inside]]


def _words(document: str) -> list[str]:
    return _WORD.findall(document.casefold())


def _digest(document: str) -> bytes:
    return hashlib.blake2b(" ".join(_words(document)).encode(), digest_size=16).digest()
