"""What each stage of a run learned: perplexity and scores beside their controls, and samples."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmlab.data.stories import Split
from lmlab.data.text import load_documents
from lmlab.engine.device import seed_everything
from lmlab.engine.items import write_items
from lmlab.engine.records import Record
from lmlab.engine.run import Results, Run, write_text
from lmlab.engine.steps import evaluation_results
from lmlab.studies.scratch.answering import (
    answer_instructions,
    answer_problems,
    choose_solutions,
)
from lmlab.studies.scratch.baseline_answers import answer_baseline_task
from lmlab.studies.scratch.checkpoints import follow_training
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.gains import scored_gains, text_gains
from lmlab.studies.scratch.material import judged_records, trained_records
from lmlab.studies.scratch.outcomes import arm_errors, arm_items, arm_records
from lmlab.studies.scratch.overlap import (
    contamination_items,
    contamination_records,
    measure_contamination,
    measure_task_contamination,
)
from lmlab.studies.scratch.perplexity import measure_arms, text_items, text_records
from lmlab.studies.scratch.preferences import judge_preferences
from lmlab.studies.scratch.result_files import write_errors, write_tables
from lmlab.studies.scratch.scored import Scored, scored_errors, scored_items, scored_records
from lmlab.studies.scratch.setting import Setting, open_setting

STEP = "evaluate"


def evaluate(config: Config, run: Run) -> None:
    """Score every split and task asked for; write records, items, samples and exports."""
    seed_everything(config.seed)
    setting = open_setting(config, run)
    results = evaluation_results(STEP, config, run)
    followed = follow_training(setting)
    _write_samples(followed.samples, results)
    records = followed.records
    for split in config.evaluate.splits:
        records += _score_text(setting, split, results)
    records += _score_tasks(setting, results)
    results.replace(STEP, records)
    write_tables(results, run)


def _write_samples(samples: Sequence[Mapping[str, Any]], results: Results) -> None:
    if samples:
        text = json.dumps(samples, indent=1, ensure_ascii=False)
        write_text(results.export("lm_generation_samples.json"), text)


def _score_text(setting: Setting, split: Split, results: Results) -> list[Record]:
    """Perplexity of all arms, and how much of the text was trained on."""
    config = setting.config
    text = load_documents(config.data, split)
    arms = measure_arms(setting, text)
    items = [one for arm in arms for one in text_items(arm, setting, text)]
    write_items(results.items_path(f"{split}_nll"), items)
    found = measure_contamination(config.data, split, text, setting.training)
    contained = contamination_items(found, seed=config.seed)
    write_items(results.items_path(f"{split}_overlap"), contained)
    records = [one for arm in arms for one in text_records(arm, setting, text)]
    records += text_gains(arms, records, config)
    data = setting.data_of(text)
    return records + contamination_records(found, config, setting.run, data=data)


def _score_tasks(setting: Setting, results: Results) -> list[Record]:
    """What the stages after pretraining were trained for, of every decoder."""
    config, run = setting.config, setting.run
    scored = list(_judge_stages(setting))
    records, items = scored_records(scored, config, run), scored_items(scored, config)
    records += scored_gains(scored, records, config)
    errors = scored_errors(scored)
    if config.baselines is not None:
        task, arms = answer_baseline_task(config, setting.judged, tokenizer=setting.tokenizer)
        for arm in arms:
            records += arm_records(arm, task, config, run, step=STEP)
            items += arm_items(arm, task, config)
        for name, found in arm_errors(arms, task).items():
            errors[name] = [*errors.get(name, []), *found]
    if items:
        write_items(results.items_path("stages"), items)
    records += _compare_with_training(setting, results)
    write_errors(results, errors, step=STEP)
    return records


def _compare_with_training(setting: Setting, results: Results) -> list[Record]:
    """How much of the tasks' records any stage was trained on."""
    config = setting.config
    tasks = judged_records(config)
    training = {"pretrain": setting.training.documents, **trained_records(config)}
    found = measure_task_contamination(tasks, training)
    if found:
        items = [item for one in found for item in contamination_items(one, seed=config.seed)]
        write_items(results.items_path("tasks_overlap"), items)
    return [
        record
        for task, one in zip(tasks, found, strict=True)
        for record in contamination_records(
            one, config, setting.run, data={task.data.split: task.data.sha256}
        )
    ]


def _judge_stages(setting: Setting) -> Iterator[Scored]:
    config, tokenizer, decoders = setting.config, setting.tokenizer, setting.judged
    if config.sft is not None:
        yield from answer_instructions(config, decoders, tokenizer=tokenizer)
        if config.sft.problems is not None:
            yield from answer_problems(config, config.sft.problems, decoders, tokenizer=tokenizer)
    if config.dpo is not None:
        yield from judge_preferences(config, decoders, tokenizer=tokenizer)
    if config.verifier is not None:
        yield from choose_solutions(config, setting.run, tokenizer=tokenizer)
