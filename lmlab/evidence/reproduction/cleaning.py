"""What may leave this machine: text without secrets and without the user's own paths."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmlab.engine.provenance import ROOT
from lmlab.engine.run import runs_root

# Settings that say where things are kept, rented and shown: no number depends on them.
PRIVATE = ("storage", "launch", "tracker")
# What stands for the folders before a file's name.
ELSEWHERE = "<path>"
HIDDEN = "***"
_NAMES = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|ACCESS_KEY|CREDENTIAL|PRIVATE_KEY", re.IGNORECASE)
# A shorter value stands in innocent text too.
_SECRET_LETTERS = 8
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[opsur]_[A-Za-z0-9]{30,})\b"
)
_LOGIN = re.compile(r"(?<=://)[^/\s\"'@]+@")
_END = r"\s\"'`,:;(){}\[\]<>|&$\\"
_ABSOLUTE = re.compile(rf"(?<![\w./@>~-])/(?!/)[^{_END}/]+/[^{_END}]*")
_GONE = "/-/-"


@dataclass(frozen=True)
class Cleaner:
    """Knows this machine's folders and the secrets of this environment."""

    folders: tuple[str, ...]
    secrets: tuple[str, ...]

    def text(self, text: str) -> str:
        """The text with secrets hidden and `<path>/name` for absolute paths."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        text = _SHAPES.sub(HIDDEN, _LOGIN.sub(f"{HIDDEN}@", text))
        text = re.sub(r"(?<![\w/])~/", f"{_GONE}/", text)
        for folder in self.folders:
            text = re.sub(rf"{re.escape(folder)}(?![\w.-])", _GONE, text)
        return _ABSOLUTE.sub(_named, text)

    def values(self, value: Any) -> Any:
        """Plain values with every text cleaned, keys too."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.values(key): self.values(inner) for key, inner in value.items()}
            case list() | tuple():
                return [self.values(inner) for inner in value]
            case _:
                return value

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """A command or its overrides without private settings, cleaned."""
        return [self.text(one) for one in _public(arguments)]

    def command(self, line: str) -> str:
        """A command as people typed it, cleaned in the same way."""
        return shlex.join(self.arguments(shlex.split(line)))

    def refuse(self, content: bytes, *, where: str, published: bool = False) -> None:
        """Raise ValueError where a secret or a folder of the user's is in it all the same.

        A folder's name in what is `published` already is nobody's own.
        """
        if any(secret.encode() in content for secret in self.secrets):
            raise ValueError(f"{where} holds a secret of this environment; it would leave with it")
        for folder in self.folders if not published else ():
            if re.search(rf"{re.escape(folder)}(?![\w.-])".encode(), content):
                raise ValueError(f"{where} holds the path {folder}, which is the user's own")


def make_cleaner() -> Cleaner:
    """Of this machine and environment."""
    places = {Path.home(), runs_root(), Path.cwd(), ROOT}
    # The home of every root is the same, and says nothing of anybody.
    folders = {str(place) for place in places} - {"/", "/root"}
    values = {value for name, value in os.environ.items() if _NAMES.search(name)}
    secrets = {value for value in values if len(value) >= _SECRET_LETTERS}
    return Cleaner(_longest_first(folders), _longest_first(secrets))


def _longest_first(texts: set[str]) -> tuple[str, ...]:
    return tuple(sorted(texts, key=lambda text: (-len(text), text)))


def _public(arguments: Sequence[str]) -> Iterator[str]:
    """Without `storage.to=x`, `--storage.to=x` and `--storage.to x`."""
    drop_value = False
    for one in arguments:
        key, given, _ = one.lstrip("-+~").partition("=")
        private = key.split(".")[0] in PRIVATE and bool(given or one.startswith("--"))
        if not (private or drop_value):
            yield one
        drop_value = private and not given


def _named(found: re.Match[str]) -> str:
    name = found[0].rstrip("/").rpartition("/")[2]
    return ELSEWHERE if name == "-" else f"{ELSEWHERE}/{name}"
