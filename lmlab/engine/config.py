"""Presets become checked, frozen configurations: Hydra composes, pydantic checks.

The only file that imports Hydra. A preset is `conf/<study>/<name>.yaml`; a study outside the
repository is an importable package whose presets lie in `<package>/conf/`.
"""

import difflib
import hashlib
import importlib
import importlib.util
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lmlab.engine.presets import CONF, PresetFile, find_preset, nearest
from lmlab.engine.schema import StudyConfig

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Resolved:
    """A preset with its overrides, composed and checked."""

    preset: str
    question: str
    overrides: tuple[str, ...]
    config: StudyConfig


@dataclass(frozen=True)
class Axis:
    """An override of a sweep: each of its values as `key=value`; a single one if it is fixed."""

    key: str
    swept: bool
    choices: tuple[str, ...]


def load_preset(preset: str, overrides: Sequence[str] = (), *, dev: bool | None = None) -> Resolved:
    """Compose `preset` with `key=value` overrides and check it against its study's schema.

    `dev=None` reads DEV_MODE from the environment. Raises ValueError, in one line and with the
    nearest valid names, for an unknown preset, key or group, and for a value of the wrong type.
    """
    file = find_preset(preset)
    dev = environment_flag("DEV_MODE") if dev is None else dev
    values = _compose(file, overrides, dev=dev)
    config = check(values, study=values.get("study", file.study))
    return Resolved(file.name, file.question, tuple(overrides), config)


def sweep_axes(overrides: Sequence[str]) -> list[Axis]:
    """`key=a,b`, `key=choice(a,b)` and `key=range(start,stop,step)` taken apart; the stop is out.

    Raises ValueError where a key stands twice, a value stands twice, or no value is left.
    """
    axes = [_axis(_parse(one)) for one in overrides]
    for index, axis in enumerate(axes):
        if axis.key in [one.key for one in axes[:index]]:
            raise ValueError(f"{axis.key} is given twice; give all of its values at once")
    return axes


def check(values: Mapping[str, Any], *, study: str) -> StudyConfig:
    """Freeze plain values as the study's `Config`; one line an error, with the nearest names."""
    schema = study_schema(study)
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        known = sorted(set(_keys_of(schema)))
        raise ValueError("; ".join(_explain(one, known) for one in error.errors())) from None


def study_schema(study: str) -> type[StudyConfig]:
    """`Config` of `lmlab.studies.<study>.config`, else of the package named `study`."""
    for package in (f"lmlab.studies.{study}", study):
        if importlib.util.find_spec(package.split(".")[0]) and _has_module(f"{package}.config"):
            return importlib.import_module(f"{package}.config").Config
    raise ValueError(f"no study {study!r}: neither lmlab.studies.{study} nor a package {study}")


def dump(config: StudyConfig) -> dict[str, Any]:
    """Plain values, complete with every default; what `config.yaml` holds."""
    return config.model_dump(mode="json")


def load_stored(path: Path) -> StudyConfig:
    """The configuration of a run, from its `config.yaml`."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return check(values, study=values["study"])


def fingerprint(config: StudyConfig, *, reads: Sequence[str], needs: Sequence[str] = ()) -> str:
    """Identity of a step: the fields it reads plus the fingerprints of the steps it needs."""
    content = [fingerprinted_values(config, reads=reads), list(needs)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def fingerprinted_values(config: StudyConfig, *, reads: Sequence[str]) -> dict[str, Any]:
    """Flat `a.b` -> value of the fields in `reads`, without those that are declared free.

    A user's own python file counts with its content.
    """
    chosen = {name: getattr(config, name) for name in reads}
    return dict(_flatten(chosen))


def environment_flag(name: str) -> bool:
    """true/false/1/0 in any case, unset is false; everything else is an error."""
    written = os.environ.get(name, "false")
    if written.lower() not in _BOOLEANS:
        raise ValueError(f"{name}={written!r} is neither true nor false; write true, false, 1 or 0")
    return _BOOLEANS[written.lower()]


def _compose(file: PresetFile, overrides: Sequence[str], *, dev: bool) -> dict[str, Any]:
    parsed = [_parse(one) for one in overrides]
    written = [_as_hydra(one, groups=_groups()) for one in parsed]
    size = [f"+size={_dev_size(file)}"] if dev else []
    try:
        # The preset's own folder is Hydra's root, so that its values need no package directive.
        with initialize_config_dir(str(file.path.parent), version_base="1.3"):
            dropped = (
                _other_kinds(parsed, _values(file, size)) if any(map(_named_kind, parsed)) else []
            )
            return _values(file, [*size, *dropped, *written])
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_one_line(file.name, str(error))) from None


def _dev_size(file: PresetFile) -> str:
    """The study's own small size where it has one."""
    own = f"{file.study}_dev"
    return own if (CONF / "size" / f"{own}.yaml").is_file() else "dev"


def _values(file: PresetFile, overrides: Sequence[str]) -> dict[str, Any]:
    search = f"hydra.searchpath=[file://{CONF}]"
    composed = compose(file.path.stem, overrides=[search, *overrides])
    values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _parse(override: str) -> Override:
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        raise ValueError(f"{override!r} is no override; write key=value") from None


def _axis(override: Override) -> Axis:
    written = override.input_line
    assert written is not None
    if not override.is_sweep_override():
        return Axis(override.key_or_group, swept=False, choices=(written,))
    value = override.value()
    if override.is_delete() or override.is_interval_sweep() or isinstance(value, Glob):
        raise ValueError(f"{written!r} is no grid; write key=a,b or key=range(start,stop,step)")
    values = _numbers(value) if isinstance(value, RangeSweep) else override.sweep_string_iterator()
    choices = tuple(f"{override.get_key_element()}={one}" for one in values)
    if len(set(choices)) < max(1, len(choices)):
        raise ValueError(f"{written!r} names {'a value twice' if choices else 'no value'}")
    return Axis(override.key_or_group, swept=True, choices=choices)


def _numbers(sweep: RangeSweep) -> list[str]:
    """In decimals: in floats Hydra's own range(0.1,0.4,0.1) takes the stop along."""
    assert sweep.start is not None
    assert sweep.stop is not None
    start, stop, step = (Decimal(str(one)) for one in (sweep.start, sweep.stop, sweep.step))
    count = math.ceil((stop - start) / step) if step else 0
    return [f"{(start + index * step).normalize():f}" for index in range(count)]


def _as_hydra(override: Override, *, groups: set[str]) -> str:
    """`key=value` may name any field of the schema, written in the preset or not."""
    plain = override.is_force_add() or override.is_add() or override.is_delete()
    chosen = override.key_or_group in groups and isinstance(override.value(), str)
    assert override.input_line is not None
    return override.input_line if plain or chosen else f"++{override.input_line}"


def _named_kind(override: Override) -> tuple[str, str] | None:
    """(section, kind) that an override asks for: `data.kind=files` or `data={kind: files}`."""
    key, value = override.key_or_group, override.value()
    if key.endswith(".kind"):
        return key.removesuffix(".kind"), str(value)
    return (key, str(value["kind"])) if isinstance(value, dict) and "kind" in value else None


def _other_kinds(overrides: Sequence[Override], values: Mapping[str, Any]) -> list[str]:
    """Deletions of the sections whose kind is changed: another kind has none of their keys."""
    dropped = []
    for section, kind in filter(None, map(_named_kind, overrides)):
        found: Any = values
        for name in section.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, dict) and found.get("kind") != kind:
            dropped.append(f"~{section}")
    return dropped


def _groups() -> set[str]:
    return {path.name for path in CONF.iterdir() if path.is_dir()}


def _one_line(preset: str, message: str) -> str:
    found = re.search(r"Could not find '(\w+)/([\w/.-]+)'", message)
    if not found:
        return f"{preset}: {' '.join(message.split())}"
    options = [path.stem for path in sorted((CONF / found[1]).glob("*.yaml"))]
    return f"no {found[1]}={found[2]}{nearest(found[2], options)}"


def _explain(error: ErrorDetails, known: Sequence[str]) -> str:
    """A pydantic error as a sentence; union tags in its location are no part of the key."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(part for index, part in enumerate(path) if not _is_tag(path, index, known))
    match error["type"]:
        case "extra_forbidden":
            options = difflib.get_close_matches(key, known, n=3, cutoff=0.3)
            options += [one for one in known if one.split(".")[-1] == path[-1]]
            # A union's key may be known, but of another kind.
            names = ", ".join(one for one in dict.fromkeys(options) if one != key)
            return f"unknown key {key}" + (f"; nearest: {names}" if names else "")
        case "missing":
            return f"{key} must be given"
        case "union_tag_not_found":
            return f"{key}.kind must be given"
        case _:
            message = error["msg"].removeprefix("Value error, ")
            said = key if isinstance(error["input"], dict) else f"{key}={error['input']!r}"
            return f"{said}: {message}" if key else message


def _is_tag(path: Sequence[str], index: int, known: Sequence[str]) -> bool:
    """Whether a location's part is the `kind` of a union rather than a key."""
    before = [part for part in path[:index] if not part.isdigit()]
    union = bool(before) and ".".join([*before, "kind"]) in known
    return union and ".".join([*before, path[index]]) not in known and index < len(path) - 1


def _keys_of(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in schema.model_fields.items():
        yield prefix + name
        for model in _models_in(info.annotation):
            yield from _keys_of(model, f"{prefix}{name}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    match value:
        case BaseModel():
            for name, info in type(value).model_fields.items():
                if not _is_free(info.json_schema_extra):
                    yield from _flatten(getattr(value, name), _join(prefix, name))
            if "path" in type(value).model_fields and value.kind == "python":  # type: ignore[attr-defined]
                yield _join(prefix, "sha256"), _file_hash(value.path)  # type: ignore[attr-defined]
        case dict():
            for name, inner in value.items():
                yield from _flatten(inner, _join(prefix, name))
        case list() | tuple():
            for index, inner in enumerate(value):
                yield from _flatten(inner, _join(prefix, str(index)))
        case str() | int() | float() | bool() | None:
            yield prefix, value
        case _:
            yield prefix, str(value)


def _is_free(extra: Any) -> bool:
    return isinstance(extra, dict) and extra.get("free") is True


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _file_hash(reference: str) -> str:
    path = Path(reference.rpartition(":")[0])
    if not path.is_file():
        raise ValueError(f"{reference!r}: no file {path}; write path/to/file.py:function")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
