"""A rented machine of Vast.ai over time: where it stands, and what is due. Nothing is done here."""

import math
from dataclasses import dataclass
from typing import Literal

from lmlab.engine.run import Run, read_json, write_json
from lmlab.engine.schema import Values
from lmlab.launch.job import Job
from lmlab.launch.vast import Instance, Offer

# A bid a quarter above the lowest that wins is not outbid by the next one who comes.
BID_FACTOR = 1.25
# Seconds that a machine may stay in a state in which it is of no use.
APPEAR_SECONDS = 120
START_SECONDS = 1200
AWAY_SECONDS = 900
RAISE_SECONDS = 180

FINAL = ("done", "preempted", "failed", "cancelled", "over budget")
Move = Literal["rent", "wait", "raise", "replace", "finish", "lost", "over budget"]


class State(Values):
    """`cloud/state.json`: what is rented for a run, and what it has cost."""

    provider: Literal["vast", "sky"]
    label: str
    state: Literal[
        "renting", "starting", "running", "outbid", "away",
        "submitted", "done", "preempted", "failed", "cancelled", "over budget",
    ]  # fmt: skip
    message: str = ""
    instance: int | None = None
    bid_usd_per_hour: float | None = None
    usd_per_hour: float | None = None
    # GPU time over all machines; the disk of a stopped one is not in it.
    spent_usd: float = 0.0
    machines: int = 0
    failed_starts: int = 0
    avoid: tuple[int, ...] = ()
    # Whether the command was seen on this machine: from then on its disk holds work.
    ran: bool = False
    # What was last seen, since when; when a bid was last raised in vain.
    seen: str = "none"
    since: float = 0.0
    raised: float | None = None
    updated: float = 0.0
    exit_code: int | None = None


@dataclass(frozen=True)
class Look:
    """What there is now: Vast.ai's status, with `running` split by what ssh says."""

    status: str
    instance: Instance | None = None
    exit_code: int | None = None
    message: str = ""


def read_state(run: Run) -> State | None:
    """None where nothing was ever rented for the run."""
    values = read_json(run.cloud / "state.json")
    return State.model_validate(values) if values else None


def write_state(run: Run, state: State) -> None:
    """Replace `cloud/state.json`."""
    run.cloud.mkdir(exist_ok=True)
    write_json(run.cloud / "state.json", state.model_dump(mode="json"))


def lines(run: Run) -> list[str]:
    """What is rented for the run, for people; empty where nothing ever was."""
    state = read_state(run)
    if state is None:
        return []
    if state.provider == "sky":
        return [f"rented   {state.state} with SkyPilot as {state.label}: sky jobs queue tells more"]
    held = "no machine" if state.instance is None else f"instance {state.instance}"
    price = (
        f", {state.usd_per_hour:.3f} USD an hour" if state.instance and state.usd_per_hour else ""
    )
    found = [f"rented   {state.state} with Vast.ai: {held}{price}, {state.spent_usd:.2f} USD spent"]
    if state.message:
        found.append(f"         {state.message}")
    if state.state not in FINAL and not run.is_running():
        found.append(f"         nobody watches it any more: see {run.cloud / 'watch.log'}")
    return found


def read_job(run: Run) -> Job:
    """What the machine is to do, as the newest command said."""
    return Job.model_validate(read_json(run.cloud / "job.json"))


def write_job(run: Run, job: Job) -> None:
    """Replace `cloud/job.json`."""
    run.cloud.mkdir(exist_ok=True)
    write_json(run.cloud / "job.json", job.model_dump(mode="json"))


def next_move(look: Look, state: State, job: Job, *, now: float) -> Move:
    """What is due, from what is seen and for how long it has been so."""
    waited = now - state.since
    if look.status == "ended":
        return "finish"
    if job.budget_usd is not None and state.spent_usd >= job.budget_usd:
        return "over budget"
    match look.status:
        case "running":
            return "wait"
        case "none" if state.instance is None:
            return "rent"
        case "none":
            return "wait" if waited < APPEAR_SECONDS else _elsewhere(state, job, otherwise="lost")
        case "exited" if not state.ran:
            return "replace"
        case "stopped" | "exited" | "frozen":
            if state.raised is not None and now - state.raised < RAISE_SECONDS:
                return "wait"
            can_raise = look.instance is not None and raised_bid(look.instance, job, state)
            return "raise" if can_raise else _elsewhere(state, job, otherwise="wait")
        case "unreachable" | "offline" | "unknown":
            return "wait" if waited < AWAY_SECONDS else _elsewhere(state, job, otherwise="wait")
        case _:
            return "wait" if waited < START_SECONDS else _elsewhere(state, job, otherwise="wait")


def first_bid(offer: Offer, *, max_usd_per_hour: float) -> float:
    """A little above the lowest that wins, so that bid and disk stay within the price."""
    return _floor(min(offer.min_bid * BID_FACTOR, max_usd_per_hour - offer.extra))


def raised_bid(instance: Instance, job: Job, state: State) -> float | None:
    """A higher bid that may win; None where the most allowed would not."""
    assert job.max_usd_per_hour is not None
    bid = state.bid_usd_per_hour or 0.0
    extra = max(0.0, instance.usd_per_hour - bid)
    wanted = max(bid, instance.min_bid) * BID_FACTOR
    best = _floor(min(wanted, job.max_usd_per_hour - extra))
    return best if best > bid and best >= instance.min_bid else None


def _elsewhere(state: State, job: Job, *, otherwise: Move) -> Move:
    """Another machine, if it could go on from the bucket, or if nothing is lost."""
    return "replace" if job.mirror is not None or not state.ran else otherwise


def _floor(usd: float) -> float:
    """Tenths of a cent, and never above what was asked for."""
    return math.floor(round(usd * 1000, 6)) / 1000
