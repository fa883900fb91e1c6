"""A run that lies in the mirror alone: the machine that made it is gone."""

from lmlab.engine.config import Resolved
from lmlab.engine.mirror import Mirror, mirrored_runs
from lmlab.engine.references import same_training
from lmlab.engine.run import Run, check_name, runs_root
from lmlab.engine.s3 import PATIENCE_SECONDS
from lmlab.engine.schema import CheckpointConfig, TrainConfig
from lmlab.engine.steps import config_steps, step_fingerprints
from lmlab.engine.storage import open_storage

# One short try: who only asks what would be done does not wait for an outage to pass.
GLANCE_SECONDS = 1.0


def find_mirror(
    resolved: Resolved, *, name: str | None, new: bool, patience_seconds: float = PATIENCE_SECONDS
) -> Mirror | None:
    """The mirror of the run named, else of the newest one of the preset and equal fingerprint.

    Raises ValueError for a `storage.to` that is no place, for a `new` run too: before it is made.
    """
    config = resolved.config
    if config.storage.to is None:
        return None
    storage = open_storage(
        config.storage.to,
        endpoint_url=config.storage.endpoint_url,
        patience_seconds=patience_seconds,
    )
    if new:
        return None
    if name is not None:
        mirror = Mirror(storage, Run(runs_root(), config.study, check_name(name)))
        return mirror if mirror.exists() else None
    steps = config_steps(config)
    wanted = step_fingerprints(steps, config)
    created = {
        found: float(manifest["created"])
        for found, manifest in mirrored_runs(storage, config.study).items()
        if manifest["preset"] == resolved.preset
        and same_training(manifest["fingerprints"], wanted, steps)
    }
    if not created:
        return None
    newest = max(created, key=lambda found: created[found])
    return Mirror(storage, Run(runs_root(), config.study, newest))


def grace_seconds(resolved: Resolved) -> float:
    """The shortest time between a notice and the kill that a training of the study counts on."""
    trainings = [value for _, value in resolved.config if isinstance(value, TrainConfig)]
    kept = [one.checkpoint for one in trainings] or [CheckpointConfig()]
    return min(one.grace_seconds for one in kept)
