"""The commands. Nothing heavy is imported before a command needs it, so that help comes at once."""

import importlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lmlab.evidence import commands as evidence_commands

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A laboratory for language-model experiments whose results can be trusted.",
)
app.add_typer(evidence_commands.app)

PRESET = typer.Argument(help="A preset, such as scratch/demo; `lmlab list` shows them.")
OVERRIDES = typer.Argument(help="Settings as key=value.", show_default=False)
REFERENCE = typer.Argument(help="study/name[:part][@N|best|last]")
Where = Literal["local", "torchrun", "slurm", "cloud"]
# sysexits.h: what was typed cannot be used.
EXIT_USAGE = 64
# The shell's code for a command ended by Ctrl-C.
EXIT_INTERRUPTED = 130
_DASHED = re.compile(r"--([a-z_]+\.[a-z0-9_.]+)(?:=(.*))?", re.DOTALL)


@app.command("list")
def list_presets() -> None:
    """Studies and presets: the question, and the last run's state."""
    presets = importlib.import_module("lmlab.engine.presets")
    latest = importlib.import_module("lmlab.engine.latest").latest_states()
    for study in dict.fromkeys(one.study for one in presets.list_presets()):
        print(study)
        for preset in presets.list_presets():
            if preset.study == study:
                print(f"  {preset.name:<24} {latest.get(preset.name, '-'):<10} {preset.question}")


@app.command()
def show(
    preset: Annotated[str, PRESET], overrides: Annotated[list[str] | None, OVERRIDES] = None
) -> None:
    """The resolved configuration, the steps, and what it will take."""
    yaml = importlib.import_module("yaml")
    config_module = importlib.import_module("lmlab.engine.config")
    steps = importlib.import_module("lmlab.engine.steps")
    resolved = config_module.load_preset(preset, overrides or [])
    print(f"# {resolved.preset}: {resolved.question}")
    print(yaml.safe_dump(config_module.dump(resolved.config), sort_keys=False))
    print("# steps:", " -> ".join(step.name for step in steps.config_steps(resolved.config)))
    for line in resolved.config.estimate_lines():
        print("#", line)


@app.command()
def run(
    preset: Annotated[str, PRESET],
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    *,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Start another run.")] = False,
    steps: Annotated[str, typer.Option(help="Only these steps: a,b.")] = "",
    phases: Annotated[str, typer.Option(help="Only these phases: a,b or 2-4.")] = "",
    why: Annotated[
        str | None, typer.Option("--continue", help="Why a failing gate is not to stop it.")
    ] = None,
    redo: Annotated[str | None, typer.Option(help="Run a finished step again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    on: Annotated[Where, typer.Option("--on", help="Where it runs.")] = "local",
    yes: Annotated[bool, typer.Option("--yes", help="Rent what --on cloud would rent.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it runs.")] = False,
) -> None:
    """Run a preset; running it again is how it resumes."""
    local = importlib.import_module("lmlab.launch.local")
    config_module = importlib.import_module("lmlab.engine.config")
    resolved = config_module.load_preset(preset, overrides or [])
    # Before a run is made for it: a wrong name leaves no folder behind.
    chosen_steps = local.step_names(resolved, steps, phases=phases, redo=redo)
    options = local.Options(name=name, new=new, steps=chosen_steps, redo=redo, why=why)
    if on == "cloud":
        cloud = importlib.import_module("lmlab.launch.cloud")
        raise typer.Exit(
            cloud.launch(resolved, options, yes=yes, dry_run=dry_run, detach=detach, say=_say)
        )
    if dry_run:
        print("\n".join(local.describe(resolved, options)))
        if on == "slurm":
            slurm = importlib.import_module("lmlab.launch.slurm")
            print("\n".join(slurm.plan(resolved, options)))
        return
    chosen = local.choose_run(resolved, options)
    if chosen.state == "running":
        print(f"{chosen.run.reference} is running: lmlab logs {chosen.run.reference} -f follows it")
        return
    if chosen.state == "finished" and redo is None:
        print(
            f"{chosen.run.reference} is finished: {chosen.run.report_path} (--new starts another)"
        )
        return
    slurm = importlib.import_module("lmlab.launch.slurm")
    if queued := slurm.active_lines(chosen.run):
        print("\n".join([f"{chosen.run.reference} is queued already", *queued]))
        return
    print(f"{chosen.run.reference} ({chosen.state}): {chosen.run.folder}", flush=True)
    if on == "slurm":
        print("\n".join(slurm.submit(resolved, chosen, options)))
        return
    launcher = importlib.import_module(f"lmlab.launch.{on}")
    launcher.start(resolved, chosen, options, _failing_gates)
    print(_conclude(chosen.run))


@app.command()
def sweep(
    preset: Annotated[str, PRESET],
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    *,
    name: Annotated[str | None, typer.Option(help="What the cells' names begin with.")] = None,
    on: Annotated[Literal["local", "slurm"], typer.Option(help="Where the cells run.")] = "local",
) -> int:
    """Each cell of key=a,b key=range(3) as a run of its own; the same command goes on."""
    module = importlib.import_module("lmlab.launch.sweep")
    made = module.run_sweep(preset, overrides or [], name=name, on=on)
    for cell, state in made.states.items():
        print(f"{cell:<72} {state}")
    print(f"{made.folder / 'sweep_results.csv'}, sweep_summary.json beside it")
    return made.exit_code


@app.command(hidden=True)
def step(
    reference: Annotated[str, REFERENCE],
    name: Annotated[str, typer.Argument(help="A step of the run's study.")],
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
) -> None:
    """One step of an existing run: what torchrun and batch scripts start."""
    module = importlib.import_module("lmlab.launch.step")
    finished = module.run_step(reference, name, overrides or [], _failing_gates)
    # Nobody waits for a job of SLURM's; elsewhere whoever started the step concludes.
    if finished is not None and "SLURM_JOB_ID" in os.environ:
        print(_conclude(finished))


@app.command("eval")
def evaluate(
    reference: Annotated[str, REFERENCE], overrides: Annotated[list[str] | None, OVERRIDES] = None
) -> None:
    """Evaluate a run again with other settings; its first results stay."""
    local = importlib.import_module("lmlab.launch.local")
    references = importlib.import_module("lmlab.engine.references")
    found = references.resolve(reference)
    if found.part is not None or found.at != "last":
        raise ValueError(
            f"{reference}: eval takes a whole run; evaluate.checkpoint=best chooses a checkpoint"
        )
    local.evaluate_again(found, overrides or [])
    print(_conclude(found.run))


@app.command()
def status(
    reference: Annotated[str | None, typer.Argument(help="A run; all of them without.")] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Anew until Ctrl-C.")] = False,
) -> None:
    """What each run is doing, or has done; without a name also as runs/index.html."""
    if not watch:
        print("\n".join(_status(reference)))
        return
    overview = importlib.import_module("lmlab.evidence.overview")
    for frame in overview.frames(lambda: _status(reference), terminal=sys.stdout.isatty()):
        print(frame, end="", flush=True)


@app.command()
def logs(
    reference: Annotated[str, REFERENCE],
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
) -> None:
    """What the newest start of a run said."""
    references = importlib.import_module("lmlab.engine.references")
    module = importlib.import_module("lmlab.launch.logs")
    for said in module.follow(references.resolve(reference, finished=False).run):
        print(said, end="", flush=True)
        if not follow:
            return
        time.sleep(1)


@app.command()
def cancel(reference: Annotated[str, REFERENCE]) -> None:
    """Stop a run wherever it works; the same command goes on from its last save."""
    references = importlib.import_module("lmlab.engine.references")
    module = importlib.import_module("lmlab.launch.cancel")
    print("\n".join(module.cancel(references.resolve(reference, finished=False).run)))


@app.command()
def generate(
    reference: Annotated[str, REFERENCE],
    prompt: Annotated[str, typer.Argument(help="What to go on from.")],
    *,
    tokens: Annotated[int, typer.Option(help="At most so many new tokens.")] = 80,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Only the k likeliest.")] = 50,
    top_p: Annotated[float | None, typer.Option(help="Only the likeliest of this mass.")] = None,
    repetition_penalty: Annotated[float, typer.Option(help="1 is none.")] = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="End at this text.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same text.")] = 0,
) -> None:
    """Sample from a run's model."""
    settings = {
        "max_new_tokens": tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "stop": tuple(stop or ()),
    }
    print(_inference(reference).continue_prompt(prompt, settings=settings, seed=seed))


@app.command()
def export(
    reference: Annotated[str, REFERENCE],
    *,
    to: Annotated[Path, typer.Option(help="The folder to make.")],
) -> None:
    """A transformers folder that loads without this package."""
    print(_inference(reference).export(to))


@app.command()
def report(
    references: Annotated[
        list[str], typer.Argument(help="A run, a study's name, or several runs.")
    ],
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an edited page.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it with Chromium, too.")] = False,
) -> None:
    """Make the page of a run, or of several, again from what is on disk."""
    page = importlib.import_module("lmlab.evidence.pages.study_report").report(
        references, force=force
    )
    print(page)
    if pdf:
        print(importlib.import_module("lmlab.evidence.pages.pdf").write_pdf(page))


@app.command()
def doctor(
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    *,
    selftest: Annotated[
        bool, typer.Option("--selftest", help="Train, kill, resume and generate here.")
    ] = False,
    batch_size: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Measure its largest micro-batch.")
    ] = None,
) -> None:
    """What this machine has, and what that means for a training here."""
    checks = importlib.import_module("lmlab.engine.doctor")
    if selftest:
        said, well = importlib.import_module("lmlab.engine.selftest").report(overrides or [])
        print("\n".join(said))
        raise typer.Exit(0 if well else 1)
    if batch_size is not None:
        print("\n".join(checks.report_batch_size(batch_size, overrides or [])))
        return
    print("\n".join(f"{name:<22} {value}" for name, value in checks.examine().items()))


@app.command()
def demo() -> None:
    """The main job on built-in data, end to end, with a report."""
    yaml = importlib.import_module("yaml")
    presets = importlib.import_module("lmlab.engine.presets")
    entries = yaml.safe_load((presets.CONF / "demo.yaml").read_text(encoding="utf-8"))
    for entry in entries["demo"]:
        run(entry["preset"], entry.get("overrides", []), steps=",".join(entry.get("steps", [])))


def main() -> None:
    """Run a command; what the user can mend is one line, and a preempted run exits with 75."""
    # Of several processes of one training the first one speaks.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(
        level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    arguments = _plain_overrides(sys.argv[1:])
    if arguments == ["list"]:
        # typer reads arguments with pydantic, whose import takes longer than all of the rest.
        sys.exit(_guarded(list_presets))
    sys.exit(_guarded(lambda: app(arguments, standalone_mode=False)))


def _guarded(command: Callable[[], Any]) -> int:
    if os.environ.get("LMLAB_DEBUG"):
        return int(command() or 0)
    try:
        return int(command() or 0)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: said in full in the log
        return _explain(error)
    except BaseException as error:
        if type(error).__name__ != "Preempted":
            raise
        print(f"stopped by {error}; the same command goes on", file=sys.stderr)
        return 75


def _explain(error: Exception) -> int:
    """One line for what the user can mend; a traceback for what only we can."""
    if type(error).__module__.startswith(("typer", "click")):
        error.show()  # type: ignore[attr-defined]
        return EXIT_USAGE
    logging.getLogger("lmlab").debug("failed", exc_info=error)
    expected = (ValueError, OSError, FloatingPointError, RuntimeError, MemoryError)
    if not isinstance(error, expected):
        raise error
    print(f"error: {error}", file=sys.stderr)
    print("(LMLAB_DEBUG=1 shows where)", file=sys.stderr)
    return EXIT_USAGE if isinstance(error, ValueError) else 1


def _plain_overrides(arguments: Sequence[str]) -> list[str]:
    """`--a.b=value` and `--a.b value` are read as `a.b=value`."""
    found: list[str] = []
    waiting: str | None = None
    for one in arguments:
        dashed = _DASHED.fullmatch(one)
        if waiting is not None and not one.startswith("--"):
            found[-1], waiting = f"{waiting}={one}", None
            continue
        waiting = dashed[1] if dashed and dashed[2] is None else None
        found.append(f"{dashed[1]}={dashed[2]}" if dashed and waiting is None else one)
    return found


def _inference(reference: str) -> Any:
    """The model that a reference names, opened by its study."""
    found = importlib.import_module("lmlab.engine.references").resolve(reference)
    # First: results that were imported have no model, and their study may be no package.
    part = found.model_part()
    module = importlib.import_module(f"lmlab.studies.{found.run.study}.inference")
    return module.open_model(part, at=found.at)


def _say(line: str) -> None:
    """At once, also into a pipe: who follows a machine waits for each line."""
    print(line, flush=True)


def _failing_gates(run: Any, phases: Sequence[str]) -> list[str]:
    return importlib.import_module("lmlab.evidence.gates.phases").failing_gates(run, phases)


def _conclude(made: Any) -> str:
    return "\n".join(importlib.import_module("lmlab.evidence.conclude").conclude(made))


def _status(reference: str | None) -> list[str]:
    """The run's own files, and what the machines and clusters that it was given to say."""
    overview = importlib.import_module("lmlab.evidence.overview")
    if reference is None:
        entries = overview.read_entries()
        importlib.import_module("lmlab.evidence.pages.index").write_index(entries)
        return overview.summaries(entries)
    references = importlib.import_module("lmlab.engine.references")
    rental = importlib.import_module("lmlab.launch.rental")
    slurm = importlib.import_module("lmlab.launch.slurm")
    found = references.resolve(reference, finished=False).run
    return [*overview.details(found), *rental.lines(found), *slurm.job_lines(found)]


if __name__ == "__main__":
    main()
