"""The watcher of a machine of Vast.ai: rent, look, outbid or replace, fetch, give back.

`python -m lmlab.launch.watcher STUDY NAME` is a process of its own, so that it outlives the
terminal. It holds the run's lock, and `cloud/state.json` says where it stands. It may be killed at
any moment: the next one finds the machine by its label.
"""

import fcntl
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lmlab.engine.lock import locked
from lmlab.engine.preempt import EXIT_CODE
from lmlab.engine.run import Run, runs_root
from lmlab.launch import remote, vast
from lmlab.launch.job import Job
from lmlab.launch.rental import (
    FINAL,
    Look,
    State,
    first_bid,
    next_move,
    raised_bid,
    read_job,
    read_state,
    write_state,
)
from lmlab.launch.vast import Instance, Offer, VastError

log = logging.getLogger(__name__)

FAILED_STARTS = 3
OFFERS_TRIED = 3
PAUSE_SECONDS = 30
_LOST = "the machine is gone, and without storage.to=s3://... nothing of the run was elsewhere"
_NOTHING_HELD = {"instance": None, "ran": False, "raised": None}


def watch(run: Run) -> None:
    """Turn after turn until the run is done, or nothing more can be done for it."""
    pause = 1.0
    with locked(run.lock_path):
        while True:
            with guarded(run):
                before = read_state(run)
                assert before is not None
                if before.state in FINAL:
                    return
                after = _turn_or_message(run, read_job(run), before)
                write_state(run, after)
            changed = (after.state, after.message) != (before.state, before.message)
            if changed:
                log.info("%s%s", after.state, f": {after.message}" if after.message else "")
            pause = 1.0 if changed else min(2 * pause, PAUSE_SECONDS)
            if after.state not in FINAL:
                time.sleep(pause)


def turn(run: Run, job: Job, state: State, *, now: float) -> State:
    """Look once and do the one thing that is due. Raises VastError."""
    look = _look(run, job, state)
    state = _noted(state, look, now=now)
    match next_move(look, state, job, now=now):
        case "rent":
            return _rent(job, state, now=now)
        case "raise":
            return _raise_bid(look, job, state, now=now)
        case "replace":
            return _replace(look, job, state, now=now)
        case "finish":
            return _finish(run, job, look, state)
        case "over budget":
            return _over_budget(run, job, look, state)
        case "lost":
            return state.model_copy(update=_NOTHING_HELD | {"state": "failed", "message": _LOST})
        case "wait":
            return state.model_copy(update={"message": _why_waiting(look, job, state)})


@contextmanager
def guarded(run: Run) -> Iterator[None]:
    """One process at a time acts for the run: the watcher in a turn, or a cancel between two."""
    with (run.cloud / "guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def give_back_all(state: State) -> list[int]:
    """Destroy every machine of the run; their numbers."""
    found = vast.find(state.label)
    for one in found:
        vast.destroy(one.id, label=state.label)
    return [one.id for one in found]


def _turn_or_message(run: Run, job: Job, state: State) -> State:
    """A turn; where Vast.ai does not answer, the same state with a message, to be tried again.

    Before the first machine there is nothing to wait for: then it has failed.
    """
    try:
        return turn(run, job, state, now=time.time())
    except (VastError, OSError) as error:
        if state.machines > 0:
            return state.model_copy(update={"message": str(error)})
        return state.model_copy(update={"state": "failed", "message": str(error)})


def _look(run: Run, job: Job, state: State) -> Look:
    instance = _own(state)
    if instance is None:
        return Look("none")
    if instance.status != "running":
        return Look(instance.status, instance, message=instance.message)
    if instance.address is None:
        return Look("unreachable", instance, message="it has no address yet")
    remote.remember(job, instance.address, run)
    try:
        code = remote.exit_code(job, run)
    except remote.UnreachableError as error:
        return Look("unreachable", instance, message=f"ssh: {error}")
    return Look("running" if code is None else "ended", instance, exit_code=code)


def _own(state: State) -> Instance | None:
    """The run's machine. A second one, of a rental that was cut short, is given back."""
    found = sorted(vast.find(state.label), key=lambda one: (one.id == state.instance, one.id))
    for extra in found[:-1]:
        vast.destroy(extra.id, label=state.label)
    return found[-1] if found else None


def _noted(state: State, look: Look, *, now: float) -> State:
    """The state with what was seen in it, and the time since the last look paid."""
    instance = look.instance
    names = {"none": "renting", "running": "running", "ended": "running", "stopped": "outbid"}
    away = {"exited": "outbid", "frozen": "outbid", "offline": "away", "unknown": "away"}
    new = {
        "state": (names | away | {"unreachable": "away"}).get(look.status, "starting"),
        "since": state.since if look.status == state.seen else now,
        "seen": look.status,
        "updated": now,
    }
    if look.status in ("running", "ended"):
        new |= {"ran": True, "raised": None, "failed_starts": 0}
    if look.status == "unreachable" and not state.ran:
        new["state"] = "starting"
    if instance is not None:
        new |= {"instance": instance.id, "usd_per_hour": instance.usd_per_hour}
        # A watcher that was killed after renting left no count.
        new["machines"] = max(1, state.machines)
        if instance.status == "running" and state.updated:
            paid = instance.usd_per_hour * (now - state.updated) / 3600
            new["spent_usd"] = state.spent_usd + paid
    return state.model_copy(update=new)


def _rent(job: Job, state: State, *, now: float) -> State:
    assert job.max_usd_per_hour is not None
    offers = vast.search(job, max_usd_per_hour=job.max_usd_per_hour)
    offers = [one for one in offers if one.machine not in state.avoid]
    if not offers:
        message = (
            f"nobody offers {job.num_gpus} x {job.gpu} with {job.disk_gb} GB of disk "
            f"for {job.max_usd_per_hour} USD an hour; raise launch.cloud.max_usd_per_hour, "
            "or take another launch.cloud.gpu"
        )
        failed = {"state": "failed"} if state.machines == 0 else {}
        return state.model_copy(update={"message": message, **failed})
    offer, bid, number = _take_one(offers, job, label=state.label)
    return state.model_copy(
        update=_NOTHING_HELD
        | {
            "state": "starting",
            "message": f"rented {offer.gpu} as instance {number}, bidding {bid} USD an hour",
            "instance": number,
            "bid_usd_per_hour": bid,
            "machines": state.machines + 1,
            "seen": "none",
            "since": now,
        }
    )


def _take_one(offers: list[Offer], job: Job, *, label: str) -> tuple[Offer, float, int]:
    """The cheapest that is still there when it is asked for."""
    assert job.max_usd_per_hour is not None
    script = remote.start_script(job)
    refusals: list[str] = []
    for offer in offers[:OFFERS_TRIED]:
        bid = first_bid(offer, max_usd_per_hour=job.max_usd_per_hour)
        try:
            return offer, bid, vast.create(offer, job, bid=bid, label=label, script=script)
        except VastError as error:
            refusals.append(str(error))
    raise VastError("; ".join(refusals))


def _raise_bid(look: Look, job: Job, state: State, *, now: float) -> State:
    assert look.instance is not None
    bid = raised_bid(look.instance, job, state)
    assert bid is not None
    vast.change_bid(look.instance.id, bid=bid)
    message = f"outbid; bidding {bid} USD an hour"
    return state.model_copy(update={"bid_usd_per_hour": bid, "raised": now, "message": message})


def _replace(look: Look, job: Job, state: State, *, now: float) -> State:
    """Give the machine back; the next turn rents another, unless none of them starts."""
    if look.instance is not None:
        vast.destroy(look.instance.id, label=state.label)
    failed_starts = state.failed_starts + (not state.ran)
    said = f": {look.message}" if look.message else ""
    new = _NOTHING_HELD | {
        "state": "renting",
        "message": f"instance {state.instance} was {look.status}{said}; gave it back",
        "failed_starts": failed_starts,
        "avoid": (*state.avoid, look.instance.machine) if look.instance else state.avoid,
        "since": now,
    }
    if failed_starts >= FAILED_STARTS:
        new["state"] = "failed"
        new["message"] = f"{failed_starts} machines did not start; the last {new['message']}"
    return state.model_copy(update=new)


def _finish(run: Run, job: Job, look: Look, state: State) -> State:
    assert look.instance is not None
    assert look.exit_code is not None
    ended = {0: "done", EXIT_CODE: "preempted"}.get(look.exit_code, "failed")
    state = _fetch_and_give_back(run, job, look.instance, state)
    message = f"the command ended with {look.exit_code}; {state.message}"
    return state.model_copy(
        update={"state": ended, "exit_code": look.exit_code, "message": message}
    )


def _over_budget(run: Run, job: Job, look: Look, state: State) -> State:
    if look.instance is not None:
        state = _fetch_and_give_back(run, job, look.instance, state)
    message = f"{state.spent_usd:.2f} USD of {job.budget_usd} are spent; {state.message}"
    return state.model_copy(update={"state": "over budget", "message": message})


def _fetch_and_give_back(run: Run, job: Job, instance: Instance, state: State) -> State:
    """Nothing is destroyed that lies nowhere else: then the machine is stopped, its disk kept."""
    try:
        remote.fetch(job, run)
        kept = f"fetched to {run.folder}"
    except remote.UnreachableError as error:
        if job.mirror is None and state.ran:
            vast.stop(instance.id)
            message = (
                f"not fetched ({error}), so instance {instance.id} is stopped and its disk kept: "
                f"copy it by hand, then lmlab cancel {run.reference}"
            )
            return state.model_copy(update={"message": message})
        kept = f"not fetched ({error}); it is in {job.mirror}" if state.ran else "nothing had run"
    vast.destroy(instance.id, label=state.label)
    message = f"{kept}; gave instance {instance.id} back"
    return state.model_copy(update=_NOTHING_HELD | {"message": message})


def _why_waiting(look: Look, job: Job, state: State) -> str:
    if state.state == "outbid" and state.raised is None and job.mirror is None:
        return (
            f"outbid at the most that is allowed, {job.max_usd_per_hour} USD an hour; without "
            "storage.to=s3://... no other machine could go on. Raise "
            "launch.cloud.max_usd_per_hour in the same command, or wait"
        )
    return look.message if look.status != "running" else ""


def main() -> None:
    """The watcher of one run."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout
    )
    study, name = sys.argv[1:]
    watch(Run(runs_root(), study, name))


if __name__ == "__main__":
    main()
