"""The commands that judge: every one reads files, and none needs torch."""

import importlib
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()


@app.command("plan")
def plan(
    *,
    margin: Annotated[
        float, typer.Option(help="What the arm may lose; negative: the gain that it must reach.")
    ],
    power: Annotated[float, typer.Option(help="Chance to pass if the claim is true.")],
    discordant: Annotated[
        float | None, typer.Option(help="Share of items that only one of the arms has right.")
    ] = None,
    deviation: Annotated[
        float | None,
        typer.Option(help="SD of a paired difference over seeds (items, without --discordant)."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Level of the one-sided test.")] = 0.05,
    effect: Annotated[float, typer.Option(help="The true difference, better as positive.")] = 0.0,
    items: Annotated[int | None, typer.Option(min=1, help="Items that there are.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds that there are.")] = None,
) -> None:
    """How many items and seeds does a claim need? No run is needed to know."""
    module = importlib.import_module("lmlab.evidence.gates.plan")
    claim = module.Claim(
        margin=margin,
        power=power,
        alpha=alpha,
        effect=effect,
        discordant=discordant,
        deviation=deviation,
    )
    made = module.make_plan(claim, items=items)
    print("\n".join(module.sentences(made, items=items, seeds=seeds)))


@app.command("import")
def import_results(
    path: Annotated[Path, typer.Argument(help="lm-eval's folder, an inspect log, or a csv.")],
    *,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    study: Annotated[str, typer.Option(help="Study of the run.")] = "imported",
    arm: Annotated[str | None, typer.Option(help="Name of the one arm in the file.")] = None,
    better: Annotated[
        Literal["higher", "lower"] | None, typer.Option(help="Where the file does not say it.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What the scores are; of a file with several: this alone.")
    ] = None,
    data_kind: Annotated[
        Literal["real", "generated"], typer.Option(help="What the items are.")
    ] = "real",
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the arm's safetensors, to be hashed.")
    ] = None,
) -> None:
    """Anybody's results become a run: gates, compare and report then work on them."""
    series = importlib.import_module("lmlab.evidence.imported.series")
    module = importlib.import_module("lmlab.evidence.imported.importing")
    options = series.Options(
        name=name, study=study, arm=arm, better=better, metric=metric, data_kind=data_kind,
        weights=weights,
    )  # fmt: skip
    print("\n".join(module.import_results(path, options).lines()))


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Runs; of one alone, its arms.")],
    *,
    metric: Annotated[str | None, typer.Option(help="This metric alone.")] = None,
    arm: Annotated[str | None, typer.Option(help="This arm alone.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="A run or an arm; else the first run.")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="As separate samples of different items.")
    ] = False,
    test: Annotated[
        Literal["permutation", "t_test"] | None,
        typer.Option(help="Else McNemar's for right and wrong answers, a permutation for others."),
    ] = None,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Level of the intervals and the verdicts.")
    ] = 0.95,
    correct: Annotated[
        Literal["holm", "benjamini_hochberg"], typer.Option(help="Of p, over all comparisons.")
    ] = "holm",
    rank: Annotated[bool, typer.Option("--rank", help="All arms in order, best first.")] = False,
    failures: Annotated[
        bool, typer.Option("--failures", help="Which items fail, and where.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(help="From where on an item fails; .5 of scores in 0..1.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Write the failures as this csv in exports/.")
    ] = None,
) -> None:
    """All arms side by side, and each against its baseline on the same items."""
    references = importlib.import_module("lmlab.engine.references")
    found = [references.resolve(one).run for one in runs]
    if failures or to is not None or threshold is not None:
        module = importlib.import_module("lmlab.evidence.comparison.failures")
        cases = module.find_failures(found, metric=metric, arm=arm, threshold=threshold)
        print("\n".join(module.lines(cases)))
        if to is not None:
            print(module.write_failures(cases, found[0], to))
        return
    module = importlib.import_module("lmlab.evidence.comparison.compare")
    text = importlib.import_module("lmlab.evidence.comparison.side_by_side")
    print("\n".join(text.tables(found, metric=metric)))
    asked = module.Asked(
        metric=metric, arm=arm, baseline=baseline, unpaired=unpaired,
        method=module.Method(test=test, confidence=confidence), correction=correct,
    )  # fmt: skip
    if rank:
        ranking = importlib.import_module("lmlab.evidence.comparison.ranking")
        print("\n".join(text.ranking_lines(ranking.rank_runs(found, asked))))
    else:
        print("\n".join(text.lines(module.compare_runs(found, asked))))


@app.command("gate")
def gate(
    reference: Annotated[str, typer.Argument(help="A run (study/name), or a study: all its runs.")],
    *,
    gates: Annotated[
        str | None, typer.Option(help="Gate file, or the study whose gates to take.")
    ] = None,
    audit: Annotated[
        bool,
        typer.Option("--audit", help="Audit them instead; a gate file or a study needs no run."),
    ] = False,
) -> int:
    """Judge the gates: exit code 0 if all pass, 1 if one fails, 2 if none fails and one is open."""
    if audit:
        module = importlib.import_module("lmlab.evidence.gates.auditing")
        print("\n".join(module.audit_reference(reference, gates=gates)))
        return 0
    module = importlib.import_module("lmlab.evidence.gates.judging")
    told = module.judge_reference(reference, gates=gates)
    print("\n".join(told.lines))
    return told.exit_code


@app.command("decide")
def decide(
    reference: Annotated[str, typer.Argument(help="A run (study/name), or a study, once judged.")],
    *,
    gates: Annotated[
        str | None, typer.Option(help="Gate file, or the study whose gates were taken.")
    ] = None,
) -> None:
    """What the verdicts allow to be claimed, what to do next, and what to watch."""
    module = importlib.import_module("lmlab.evidence.gates.decide")
    print("\n".join(module.decide_target(reference, gates=gates)))


@app.command("note")
def note(
    reference: Annotated[str, typer.Argument(help="The run: study/name.")],
    text: Annotated[str, typer.Argument(help="What is to be remembered.")],
) -> None:
    """Write a dated note on a run; notes are only ever added."""
    run = importlib.import_module("lmlab.engine.references").resolve(reference, finished=False).run
    importlib.import_module("lmlab.evidence.notes").add_note(run, text)
    print(f"noted in {run.notes_path}")


@app.command("diary")
def diary(
    *,
    study: Annotated[str | None, typer.Option(help="Only this study's runs.")] = None,
    since: Annotated[str | None, typer.Option(help="From this day on: YYYY-MM-DD.")] = None,
    to: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
) -> None:
    """The dated diary of all experiments, from records and notes."""
    text = importlib.import_module("lmlab.evidence.diary").diary(study=study, since=since)
    if to is None:
        print(text, end="")
    else:
        importlib.import_module("lmlab.engine.run").write_text(to, text)
        print(to)


@app.command("kit")
def kit(
    reference: Annotated[str, typer.Argument(help="A run, or a study: all its finished runs.")],
    *,
    to: Annotated[Path, typer.Option(help="The folder to make it in.")] = Path("kits"),
) -> None:
    """The reproduction kit: a folder and an archive that make the numbers again elsewhere."""
    made = importlib.import_module("lmlab.evidence.reproduction.kit").make_kit(reference, to=to)
    print("\n".join([*made.warnings, str(made.folder), str(made.archive)]))
