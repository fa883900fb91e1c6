"""Text to token ids and back: byte-level BPE trained here, or any tokenizer loaded."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lmlab.data.schema import LoadedTokenizer, TokenizerConfig, TrainedTokenizer

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
# Which tokens begin, end and pad a text, where a tokenizer.json stands alone and cannot say.
USUAL = {
    "bos_token": (BOS, "<s>", "<|begin_of_text|>", "[BOS]"),
    "eos_token": (EOS, "</s>", "<|endoftext|>", "<|end_of_text|>", "[EOS]"),
    "pad_token": (PAD, "<|pad|>", "<|padding|>", "[PAD]"),
}


@dataclass(frozen=True)
class TokenStarts:
    """Token ids, and for each the index of the character in which it starts."""

    ids: list[int]
    starts: list[int]


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer as the rest uses it: it adds no token of its own and takes none from the text.

    The name of a special token in a text ("<eos>" in a web page) is text, so no document can end
    another one. `vocab_size` is the greatest id + 1. `sha256` covers all that ids depend on.
    """

    inner: Tokenizer
    bos_id: int | None
    eos_id: int
    pad_id: int | None
    vocab_size: int
    sha256: str

    @property
    def start_ids(self) -> list[int]:
        """What a document begins with: BOS, where there is one."""
        return [] if self.bos_id is None else [self.bos_id]

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without BOS or EOS."""
        return self.inner.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The same for many texts, on all cores."""
        found = self.inner.encode_batch_fast(list(texts), add_special_tokens=False)
        return [one.ids for one in found]

    def encode_with_starts(self, text: str) -> TokenStarts:
        """Ids and where they start; tokens inside one character all start at that character."""
        found = self.inner.encode(text, add_special_tokens=False)
        return TokenStarts(ids=found.ids, starts=[start for start, _ in found.offsets])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; BOS, EOS and PAD have none."""
        return self.inner.decode(list(ids), skip_special_tokens=True)


def build_tokenizer(config: TokenizerConfig, texts: Iterable[str]) -> TextTokenizer:
    """The tokenizer that a configuration names; `texts` is the training split, and only that."""
    match config:
        case TrainedTokenizer(vocab_size=vocab_size):
            return wrap_tokenizer(train_bpe(texts, vocab_size=vocab_size), roles={})
        case LoadedTokenizer(path=path):
            return load_tokenizer(path)


def train_bpe(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    """Byte-level BPE: every text can be encoded, and comes back as it was.

    A small text may hold too few pairs; then the vocabulary stays below `vocab_size`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: str) -> TextTokenizer:
    """A tokenizer.json, a folder that holds one, or the id of a repository on the hub."""
    place = Path(path)
    if place.is_dir():
        return wrap_tokenizer(_read(place / "tokenizer.json"), roles=_read_roles(place))
    if place.exists() or place.suffix == ".json" or place.is_absolute():
        return wrap_tokenizer(_read(place), roles={})
    try:
        return wrap_tokenizer(Tokenizer.from_pretrained(path), roles={})
    except OSError as error:
        raise ValueError(
            f"{path} is no file or folder here, and the hub gave no tokenizer of that id: {error}"
        ) from error


def save_tokenizer(
    tokenizer: TextTokenizer, folder: Path, *, chat_template: str | None = None
) -> None:
    """A folder that `load_tokenizer` and transformers' AutoTokenizer read."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {
        "bos_token": tokenizer.bos_id,
        "eos_token": tokenizer.eos_id,
        "pad_token": tokenizer.pad_id,
    }
    roles = {
        role: tokenizer.inner.id_to_token(token) for role, token in ids.items() if token is not None
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **roles}
    _replace(folder / "tokenizer_config.json", json.dumps(config, indent=2))
    if chat_template is not None:
        _replace(folder / "chat_template.jinja", chat_template)
    _replace(folder / "tokenizer.json", tokenizer.inner.to_str(pretty=True))


def wrap_tokenizer(inner: Tokenizer, *, roles: Mapping[str, str]) -> TextTokenizer:
    """With the tokens named in `roles` (bos_token, eos_token, pad_token), else the usual ones."""
    inner.no_truncation()
    inner.no_padding()
    inner.encode_special_tokens = True
    ids = {role: _role_id(inner, role, roles) for role in USUAL}
    eos_id = ids["eos_token"]
    if eos_id is None:
        raise ValueError(
            "the tokenizer has no end-of-text token; name it as eos_token in tokenizer_config.json"
        )
    canonical = json.dumps([json.loads(inner.to_str()), ids], sort_keys=True)
    return TextTokenizer(
        inner=inner,
        bos_id=ids["bos_token"],
        eos_id=eos_id,
        pad_id=ids["pad_token"],
        vocab_size=max(inner.get_vocab().values()) + 1,
        sha256=hashlib.sha256(canonical.encode()).hexdigest(),
    )


def _role_id(inner: Tokenizer, role: str, roles: Mapping[str, str]) -> int | None:
    if role not in roles:
        found = (inner.token_to_id(token) for token in USUAL[role])
        return next((token for token in found if token is not None), None)
    token = inner.token_to_id(roles[role])
    if token is None:
        raise ValueError(
            f"{role} {roles[role]!r} of tokenizer_config.json is not in tokenizer.json"
        )
    return token


def _read(path: Path) -> Tokenizer:
    try:
        text = path.read_text(encoding="utf-8")
        if "model" not in json.loads(text):
            raise ValueError("it has no key `model`")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no tokenizer.json: {error}") from error
    return Tokenizer.from_str(text)


def _read_roles(folder: Path) -> dict[str, str]:
    """A role is a token, or an object that holds it as `content`."""
    path = folder / "tokenizer_config.json"
    if not path.exists():
        return {}
    config = json.loads(path.read_text(encoding="utf-8"))
    given = {role: config[role] for role in USUAL if config.get(role) is not None}
    return {role: one if isinstance(one, str) else one["content"] for role, one in given.items()}


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
