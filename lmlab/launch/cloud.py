"""`lmlab run PRESET --on cloud`: say what would be rented, rent it, follow it, give it back."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from lmlab.engine.config import Resolved
from lmlab.engine.preempt import EXIT_CODE
from lmlab.engine.run import Run
from lmlab.launch import rental, sky, vast, watcher
from lmlab.launch.job import Job, make_job, present_secrets
from lmlab.launch.local import Options, choose_run, find_run, new_name
from lmlab.launch.mirrored import find_mirror
from lmlab.launch.program import find_program
from lmlab.launch.rental import FINAL, State

Say = Callable[[str], None]

# What a training reaches of the peak that an offer names; the same share as on a CPU.
SHARE_OF_PEAK = 0.4
EXITS = {"done": 0, "preempted": EXIT_CODE}
EXIT_NOT_ASKED = 64
FOLLOW_SECONDS = 0.3


def launch(
    resolved: Resolved, options: Options, *, yes: bool, dry_run: bool, detach: bool, say: Say
) -> int:
    """Run on a rented machine; the exit code of what was done. Nothing is rented without `yes`.

    Raises ValueError where the settings name no machine or could only lose the results.
    """
    found = find_run(resolved, options)
    name = found.run.name if found else new_name(resolved, options)
    job = make_job(resolved, options, name=name)
    provider = resolved.config.launch.cloud.provider
    _check(job, provider)
    if found is not None and found.state == "running" and not dry_run:
        return _attach(found.run, job, yes=yes, detach=detach, say=say)
    if found is not None and found.state == "finished" and options.redo is None:
        say(f"{found.run.reference} is finished: {found.run.report_path} (--new starts another)")
        return 0
    if dry_run or not yes:
        state = found.state if found else "not begun here"
        say("\n".join([f"run: {job.reference} ({state})", *_plan(resolved, job)]))
        if not dry_run:
            say("nothing is rented without --yes")
        return 0 if dry_run else EXIT_NOT_ASKED
    _check_programs(provider)
    run = choose_run(resolved, options).run
    job = make_job(resolved, options, name=run.name)
    rental.write_job(run, job)
    if provider == "sky":
        return _launch_sky(resolved, run, job, detach=detach, say=say)
    rental.write_state(run, _begin(run, "vast"))
    start = _log_size(run)
    return _follow(run, _start_watcher(run), start=start, detach=detach, say=say)


def cancel(run: Run) -> list[str]:
    """Give back whatever is rented for the run; what was done, in lines; empty for nothing.

    Raises ValueError where nothing ever was, VastError or RuntimeError where it may still cost.
    """
    state = rental.read_state(run)
    if state is None:
        raise ValueError(f"nothing was ever rented for {run.reference}")
    with watcher.guarded(run):
        state = rental.read_state(run)
        assert state is not None
        if state.provider == "sky":
            sky.cancel(rental.read_job(run))
            done = ["cancelled its job with SkyPilot"]
        else:
            done = [f"gave instance {one} back" for one in watcher.give_back_all(state)]
        now = state.state if state.state in FINAL else "cancelled"
        ended = {"state": now, "instance": None, "ran": False}
        rental.write_state(run, state.model_copy(update=ended))
    return [f"{run.reference}: {line}" for line in done]


def _check(job: Job, provider: str) -> None:
    if provider == "sky":
        sky.render(job)
    elif job.max_usd_per_hour is None:
        raise ValueError(
            "how much may be bid? Give launch.cloud.max_usd_per_hour, bid and disk together"
        )


def _check_programs(provider: str) -> None:
    """Before anything is made: a watcher without its tools would leave a machine unwatched."""
    if provider == "sky":
        sky.client()
    else:
        vast.client()
        find_program("ssh", install="apt-get install openssh-client")


def _plan(resolved: Resolved, job: Job) -> list[str]:
    """What would be rented, what it would do, and what it would cost."""
    config = resolved.config
    secrets = ", ".join(job.secrets) or "none"
    budget = "none" if job.budget_usd is None else f"{job.budget_usd:g} USD"
    lines = [
        f"machine: {job.num_gpus} x {job.gpu}, {job.disk_gb} GB of disk, image {job.image}, "
        "interruptible",
        f"command there: {job.shell_command}",
        f"mirror: {job.mirror or 'none'}",
        f"secrets it needs: {secrets}",
        f"budget: {budget}",
    ]
    if config.launch.cloud.provider == "sky":
        return lines + _sky_plan(job)
    return lines + _vast_plan(job, flops=config.estimate().get("FLOPs"))


def _sky_plan(job: Job) -> list[str]:
    limit = job.max_usd_per_hour
    return [
        f"secrets set here, to be passed by name: {', '.join(present_secrets(job)) or 'none'}",
        f"price: unknown here (SkyPilot looks it up), at most {limit} USD an hour"
        if limit is not None
        else "price: unknown here, and without launch.cloud.max_usd_per_hour not limited",
        "task file:",
        sky.render(job).rstrip(),
    ]


def _vast_plan(job: Job, *, flops: str | None) -> list[str]:
    assert job.max_usd_per_hour is not None
    lines = []
    if job.mirror is None:
        lines.append(
            "ADVICE: Vast.ai stops a machine that is outbid without notice, and no other machine "
            "can go on from its disk: give storage.to=s3://BUCKET/PREFIX"
        )
    if job.secrets:
        lines.append("secrets are kept by Vast.ai: vastai create env-var NAME VALUE, once")
    most = f"at most {job.max_usd_per_hour:g} USD an hour"
    try:
        offers = vast.search(job, max_usd_per_hour=job.max_usd_per_hour)
    except (ValueError, vast.VastError) as error:
        return [*lines, f"price: unknown ({error}), {most}"]
    if not offers:
        return [*lines, f"price: nobody offers this now for {most.removeprefix('at most ')}"]
    offer = offers[0]
    bid = rental.first_bid(offer, max_usd_per_hour=job.max_usd_per_hour)
    per_hour = bid + offer.extra
    return [
        *lines,
        f"price: {per_hour:.3f} USD an hour now (offer {offer.id}: bid {bid:g}, "
        f"disk {offer.extra:.3f}), {most}",
        _cost(offer, per_hour=per_hour, flops=flops),
    ]


def _cost(offer: vast.Offer, *, per_hour: float, flops: str | None) -> str:
    if flops is None or offer.tera_flops == 0:
        return "cost in all: unknown, since nobody can say how many hours"
    hours = float(flops) / (SHARE_OF_PEAK * offer.tera_flops * 1e12) / 3600
    return (
        f"cost in all: about {hours * per_hour:.2f} USD for {hours:.2f} h of training, "
        f"at {SHARE_OF_PEAK:.0%} of the offer's {offer.tera_flops:g} TFLOPS"
    )


def _begin(run: Run, provider: str) -> State:
    """The state of a new launch: what was spent stays spent, and the label stays the run's own."""
    before = rental.read_state(run)
    if before is None:
        # Two people's runs may share a name and an account.
        label = f"lmlab-{run.study}-{run.name}-{uuid.uuid4().hex[:8]}"
        return State.model_validate({"provider": provider, "label": label, "state": "renting"})
    if before.provider != provider and before.state not in FINAL:
        raise ValueError(
            f"{run.reference} is rented with {before.provider}: lmlab cancel {run.reference} first"
        )
    if before.state in FINAL and before.instance is not None:
        raise ValueError(
            f"instance {before.instance} still keeps what {run.reference} did: copy it, "
            f"then lmlab cancel {run.reference}"
        )
    if before.state not in FINAL:
        return before
    return State.model_validate(
        {
            "provider": provider,
            "label": before.label,
            "state": "renting",
            "spent_usd": before.spent_usd,
        }
    )


def _launch_sky(resolved: Resolved, run: Run, job: Job, *, detach: bool, say: Say) -> int:
    """Hand the job over, or follow the one that is there; what it made is brought back."""
    before = rental.read_state(run)
    if before is not None and before.state == "done":
        code = 0
    elif before is not None and before.state == "submitted":
        say(f"{run.reference} is with SkyPilot already; its log follows")
        code = sky.follow(job)
    else:
        task = sky.write_task(job, run)
        # Before the launch: a launch that is cut short must not be made twice.
        before = _begin(run, "sky").model_copy(update={"state": "submitted"})
        rental.write_state(run, before)
        say(f"{run.reference}: {task}")
        code = sky.launch(job, task, detach=detach)
        if code == 0 and detach:
            return code
    ended = {"state": sky.STATES.get(code, "failed"), "exit_code": code}
    rental.write_state(run, before.model_copy(update=ended))
    if code == 0:
        _pull(resolved, run)
        say(f"{run.reference}: brought back from {job.mirror}")
    return code


def _pull(resolved: Resolved, run: Run) -> None:
    """The run as its mirror has it takes the place of the folder that only began here."""
    mirror = find_mirror(resolved, name=run.name, new=False)
    if mirror is None:
        raise ValueError(f"{run.reference} ended, and nothing of it is in its mirror")
    aside = run.folder.with_name(f".begun-{uuid.uuid4().hex}")
    run.folder.rename(aside)
    try:
        mirror.pull()
    except BaseException:
        aside.rename(run.folder)
        raise
    (aside / "cloud").rename(run.cloud)
    shutil.rmtree(aside)


def _attach(run: Run, job: Job, *, yes: bool, detach: bool, say: Say) -> int:
    """Follow what runs already; with `yes` under the limits that this command gives."""
    state = rental.read_state(run)
    if state is None or state.state in FINAL:
        say(f"{run.reference} is running: lmlab logs {run.reference} -f follows it")
        return 0
    if yes:
        rental.write_job(run, job)
    return _follow(run, None, start=_log_size(run), detach=detach, say=say)


def _start_watcher(run: Run) -> subprocess.Popen[bytes]:
    """In a session of its own: neither a closed terminal nor a log-out ends it."""
    with _log(run).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lmlab.launch.watcher", run.study, run.name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"LMLAB_RUNS": str(run.root)},
        )


def _follow(
    run: Run, started: subprocess.Popen[bytes] | None, *, start: int, detach: bool, say: Say
) -> int:
    """What the watcher says, from byte `start` of its log: to the end, or until the run is up."""
    say(f"{run.reference}: Ctrl-C leaves it running; lmlab cancel {run.reference} gives it back")
    shown = False
    with _log(run).open(encoding="utf-8") as log:
        log.seek(start)
        while True:
            # In this order, so that the last line of a watcher that ended is read too.
            alive = run.is_running() if started is None else started.poll() is None
            state = rental.read_state(run)
            assert state is not None
            for line in log:
                say(line.rstrip("\n"))
            if state.state in FINAL:
                return EXITS.get(state.state, 1)
            if state.state == "running" and not shown:
                shown = True
                say("with these lines in ~/.ssh/config, ssh and an editor's Remote-SSH find it:")
                say((run.cloud / "ssh_config").read_text(encoding="utf-8").rstrip())
            # Not before its watcher holds it: the same command would find nobody there.
            if shown and detach and run.is_running():
                return 0
            if not alive:
                raise RuntimeError(f"nobody watches {run.reference} any more: see {_log(run)}")
            time.sleep(FOLLOW_SECONDS)


def _log(run: Run) -> Path:
    return run.cloud / "watch.log"


def _log_size(run: Run) -> int:
    return _log(run).stat().st_size if _log(run).exists() else 0
