"""How much of a text was in it before."""

from dataclasses import dataclass

WINDOW_WORDS = 10


@dataclass(frozen=True)
class Repetition:
    """Windows of words in a text, and those of them that occurred before; sums over texts pool."""

    num_repeated: int
    num_windows: int

    @property
    def share(self) -> float:
        """The repetition, 0 to 1. Raises ValueError for a text too short to repeat anything."""
        if not self.num_windows:
            raise ValueError("no window of words to look for: the text is shorter than one")
        return self.num_repeated / self.num_windows


def repetition(text: str, *, window_words: int = WINDOW_WORDS) -> Repetition:
    """The windows that start at each word, and how many of them started at an earlier word too.

    Words are what stands between white space; two windows may overlap.
    """
    words = text.split()
    starts = range(len(words) - window_words + 1)
    windows = [tuple(words[start : start + window_words]) for start in starts]
    return Repetition(len(windows) - len(set(windows)), len(windows))
