"""Text becomes a tokenizer and token shards, with the hash of what they were made from."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from lmlab.data.pack import PackedRows, write_tokens
from lmlab.data.text import TextSplit, load_documents
from lmlab.data.tokenizer import TextTokenizer, build_tokenizer, load_tokenizer, save_tokenizer
from lmlab.engine.run import Run, read_json, write_json
from lmlab.studies.scratch.config import Config

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Where the shards lie and what they were made from."""

    folder: Path
    source: str
    data_kind: str
    licence: str
    sha256: dict[str, str]
    num_tokens: dict[str, int]
    vocab_size: int
    tokenizer_sha256: str

    @property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer that the shards were made with. Raises ValueError where it is another."""
        place = self.folder.parent / "tokenizer"
        found = load_tokenizer(str(place))
        if found.sha256 != self.tokenizer_sha256:
            raise ValueError(
                f"{place} holds another tokenizer ({found.vocab_size} tokens, {found.sha256[:12]}) "
                f"than the run was made with ({self.vocab_size} tokens, "
                f"{self.tokenizer_sha256[:12]}); put that one back, or start another run with --new"
            )
        return found

    def rows(self, split: str, *, context_tokens: int, across_documents: bool) -> PackedRows:
        """The rows of a split's shard."""
        return PackedRows(
            self.folder / split, context_tokens=context_tokens, across_documents=across_documents
        )


def prepare(config: Config, run: Run) -> None:
    """Train or load the tokenizer, and write the train and validation shards."""
    splits = {name: load_documents(config.data, name) for name in ("train", "validation")}
    tokenizer = build_tokenizer(config.tokenizer, splits["train"].documents)
    save_tokenizer(tokenizer, run.folder / "tokenizer")
    counts = {name: _write(run, split, tokenizer) for name, split in splits.items()}
    prepared = Prepared(
        folder=run.folder / "data",
        source=splits["train"].name,
        data_kind=splits["train"].data_kind,
        licence=splits["train"].licence,
        sha256={name: split.sha256 for name, split in splits.items()},
        num_tokens=counts,
        vocab_size=tokenizer.vocab_size,
        tokenizer_sha256=tokenizer.sha256,
    )
    facts = {key: value for key, value in asdict(prepared).items() if key != "folder"}
    write_json(run.folder / "data" / "facts.json", facts)
    log.info("%s: %s tokens, vocabulary %d", prepared.source, counts, tokenizer.vocab_size)


def load_prepared(run: Run) -> Prepared:
    """What the step `prepare` left."""
    folder = run.folder / "data"
    return Prepared(folder=folder, **read_json(folder / "facts.json"))


def load_training_text(config: Config, prepared: Prepared) -> TextSplit:
    """The text that the shards were made from. Raises ValueError where it is another by now."""
    text = load_documents(config.data, "train")
    if text.sha256 != prepared.sha256["train"]:
        raise ValueError(
            f"the training text of {text.name} is another (sha256 {text.sha256[:12]}) than the run "
            f"was made with ({prepared.sha256['train'][:12]}); put that one back, or start another "
            "run with --new"
        )
    return text


def _write(run: Run, split: TextSplit, tokenizer: TextTokenizer) -> int:
    path = run.folder / "data" / split.split
    bos = tokenizer.bos_id is not None
    return write_tokens(path, split.documents, tokenizer=tokenizer, bos=bos).num_tokens
