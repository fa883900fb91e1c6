"""TensorBoard and W&B: pages that show a training's numbers, and may fail without harm to it."""

import importlib
import logging
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml
from torch.utils.tensorboard import SummaryWriter

from lmlab.engine.run import Part, read_json, write_json
from lmlab.engine.schema import WandbConfig

log = logging.getLogger(__name__)

_START_SECONDS = 30.0
# Of the grace that a provider grants; what wandb has written by then, it can send later.
_FINISH_SECONDS = 10.0


class Board(Protocol):
    """Takes numbers. Raises OSError where it cannot, and is not asked again."""

    name: str

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """The numbers of a step."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class TensorBoard:
    """Event files in a folder."""

    name = "TensorBoard"

    def __init__(self, folder: Path, *, step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """One scalar a number."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Everything is on disk."""
        self._writer.close()


class Wandb:
    """A run of Weights & Biases, the same one after a resume.

    Its key stays where wandb looks for it: in WANDB_API_KEY or in ~/.netrc.
    """

    name = "W&B"

    def __init__(self, part: Part, config: WandbConfig) -> None:
        """Raises ValueError where wandb is not installed, OSError where its server is down."""
        self._folder = part.folder
        self._wandb = _import_wandb()
        try:
            self._run = self._wandb.init(
                project=config.project,
                mode=config.mode,
                id=_run_id(part, config),
                resume="allow",
                name=f"{part.run.reference}:{part.name}",
                config=_settings(part),
                dir=str(part.folder),
                # An earlier training's run may still be sending.
                reinit="create_new",
                settings=self._wandb.Settings(
                    console="off", silent=True, disable_git=True, init_timeout=_START_SECONDS
                ),
            )
        except self._wandb.Error as error:
            raise OSError(str(error)) from error

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """One row of its history."""
        try:
            self._run.log(dict(values), step=step)
        except self._wandb.Error as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Wait for the rest to be sent, but not for ever: with its server down wandb would."""
        sent = threading.Event()
        threading.Thread(target=self._finish, args=(sent,), daemon=True).start()
        if not sent.wait(_FINISH_SECONDS):
            raise OSError(
                f"not all was sent in {_FINISH_SECONDS:.0f} s; `wandb sync` sends what is in "
                f"{self._folder / 'wandb'}"
            )

    def _finish(self, sent: threading.Event) -> None:
        self._run.finish()
        sent.set()


def _run_id(part: Part, config: WandbConfig) -> str:
    """Chosen once a training, and kept on disk before W&B hears of it."""
    path = part.folder / "wandb.json"
    stored = read_json(path)
    if config.id is None and stored.get("project") == config.project:
        return str(stored["id"])
    chosen = config.id or uuid.uuid4().hex
    write_json(path, {"id": chosen, "project": config.project})
    return chosen


def _settings(part: Part) -> dict[str, Any]:
    """The run's resolved configuration, as it lies beside it."""
    path = part.run.config_path
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def _import_wandb() -> Any:
    try:
        return importlib.import_module("wandb")
    except ModuleNotFoundError as error:
        if error.name != "wandb":
            raise
        raise ValueError("tracker.wandb needs W&B's package: pip install 'lmlab[wandb]'") from None
