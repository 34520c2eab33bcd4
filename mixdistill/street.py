"""The stages in order: what each reads and writes, and when it need not run.

`run_stage` runs one, `walk` all. A stage is its settings (the part of the recipe that it depends on), the files
that it reads and writes, and one library function; it is skipped when all of these are as they were when it
last finished. Nothing is decided here that a stage could decide itself.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import mixdistill
from mixdistill.cards.plots import PLOTS
from mixdistill.errors import StorageError
from mixdistill.files import write_text
from mixdistill.recipe import Recipe
from mixdistill.run import Progress, Run, StageRecord
from mixdistill.teachers import DatasetTeacher
from mixdistill.yaml_file import dump_yaml

if TYPE_CHECKING:
    from mixdistill.builders.batch_files import BatchFile
    from mixdistill.builders.pilot import Estimate
    from mixdistill.cards.hub import PublishPlan


@dataclass(frozen=True)
class Stage:
    """One stop of the street."""

    name: str
    settings: Callable[[Recipe, Run], object]
    "What it depends on besides files: parts of the recipe."
    reads: Callable[[Recipe, Run], list[Path]]
    writes: Callable[[Recipe, Run], list[Path]]
    work: Callable[[Recipe, Run, Progress], dict[str, int]]
    "Does it; returns counts. A count `failed` above 0 means that running again may mend something."
    about: Callable[[Run], dict[str, object]] = lambda run: {}
    "What else the manifest says of it."
    shape: int = 1
    "Raised when what it writes changes its shape: what an older version wrote is then made anew."


def run_stage(stage: Stage, recipe: Recipe, run: Run, progress: Progress) -> StageRecord:
    """Runs a stage unless it is finished. The caller holds the run's lock."""
    finished = state(stage, recipe, run)
    if finished is not None and finished.complete:
        return finished
    _keep_recipe(recipe, run)
    settings = _settings(stage, recipe, run)
    reads = run.identities(stage.reads(recipe, run))  # before it works: what changes meanwhile was not read
    started = time.monotonic()
    counts = stage.work(recipe, run, progress)
    return run.record(
        stage.name,
        settings,
        reads=reads,
        writes=run.identities(stage.writes(recipe, run)),
        counts=counts,
        seconds=time.monotonic() - started,
        complete=not counts.get("failed"),
        about=stage.about(run),
    )


def state(stage: Stage, recipe: Recipe, run: Run) -> StageRecord | None:
    """The record of a stage that is up to date, complete or not; None if it is still to do."""
    return run.finished(stage.name, _settings(stage, recipe, run), stage.reads(recipe, run))


def prepare_publish(recipe: Recipe, run: Run) -> None:
    """Brings the dataset folder up to date with the recipe: where it goes stands in its card.

    Raises StorageError if a stage before the card is to do.
    """
    for name, stage in STAGES.items():
        if name != "card" and state(stage, recipe, run) is None:
            raise StorageError(
                f"{run.dataset}: not what the recipe says: stage {name!r} is to do; run 'mixdistill run' first"
            )
    with run.locked():
        run_stage(STAGES["card"], recipe, run, lambda done, total, note, figures=None, /: None)


def _settings(stage: Stage, recipe: Recipe, run: Run) -> object:
    shape = [stage.shape] if stage.shape > 1 else []  # without it, as runs have it that are older than shapes
    return [mixdistill.__version__, recipe.name, recipe.seed, stage.settings(recipe, run), *shape]


def walk(
    recipe: Recipe, run: Run, progress: Callable[[str], Progress], stages: Sequence[str] = ()
) -> Iterator[StageRecord]:
    """Runs the stages in order (all by default), and yields what each did. Holds the run's lock meanwhile."""
    with run.locked():
        for name in stages or STAGES:
            yield run_stage(STAGES[name], recipe, run, progress(name))


def ask_pilot(recipe: Recipe, run: Run, progress: Progress, n_problems: int) -> "Estimate":
    """Asks about a few problems, and reckons what the rest will take. Holds the run's lock meanwhile."""
    from mixdistill.builders import traces
    from mixdistill.verifiers.live import live_judging

    with run.locked(), live_judging(recipe, run) as judging:
        return traces.ask_pilot(recipe, run, progress, judging, n_problems)


def write_requests(recipe: Recipe, run: Run, path: Path) -> "list[BatchFile]":
    """Writes the missing requests as batch files. Holds the run's lock meanwhile."""
    from mixdistill.builders import traces
    from mixdistill.verifiers.live import live_judging

    with run.locked(), live_judging(recipe, run) as judging:
        return traces.write_requests(recipe, run, judging, path)


def take_results(recipe: Recipe, run: Run, path: Path) -> dict[str, int]:
    """Keeps the traces in a file of batch results. Holds the run's lock meanwhile."""
    from mixdistill.builders import traces
    from mixdistill.verifiers.live import live_judging

    with run.locked(), live_judging(recipe, run) as judging:
        return traces.take_results(recipe, run, judging, path)


def publish(recipe: Recipe, run: Run, plan: "PublishPlan | None" = None) -> dict[str, int | str]:
    """Sends the dataset to the Hub and notes it in manifest.json; `plan` and result are `publish_dataset`'s."""
    from mixdistill.cards.hub import publish_dataset

    with run.locked():
        started = time.monotonic()
        sent = publish_dataset(recipe, run, plan)
        counts = {name: n for name, n in sent.items() if isinstance(n, int)}
        reads, seconds = run.identities(_dataset_files(run)), time.monotonic() - started
        settings = _publish_settings(recipe)
        run.record("publish", settings, reads=reads, writes={}, counts=counts, seconds=seconds, complete=True)
        return sent


def is_published(recipe: Recipe, run: Run) -> bool:
    """Whether this very dataset was sent to this very place. Does not ask the Hub."""
    return run.finished("publish", _publish_settings(recipe), _dataset_files(run)) is not None


def _publish_settings(recipe: Recipe) -> object:
    return recipe.publish.model_dump(mode="json") if recipe.publish else None


def _keep_recipe(recipe: Recipe, run: Run) -> None:
    content = recipe.model_dump(mode="json", exclude_defaults=True)
    write_text(run.recipe, dump_yaml(content))


def _problems(recipe: Recipe, run: Run, _progress: Progress) -> dict[str, int]:
    from mixdistill.builders.problems import build_problems

    return build_problems(recipe, run)


def _generate(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
    from mixdistill.builders.traces import generate_traces
    from mixdistill.verifiers.live import live_judging

    with live_judging(recipe, run) as judging:
        return generate_traces(recipe, run, progress, judging)


def _engines(run: Run) -> dict[str, object]:
    from mixdistill.builders.engines import read_engines

    return {"engines": read_engines(run)}


def _verify(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
    from mixdistill.verifiers.audit import audit_references
    from mixdistill.verifiers.judge import judge_traces
    from mixdistill.verifiers.opinions import ask_judge

    counts = judge_traces(recipe, run, progress) | audit_references(recipe, run)
    judge = recipe.verify.judge
    if judge is None:
        return counts
    from mixdistill.builders.asking import ask_judge_server

    return counts | ask_judge(judge, run, progress, partial(ask_judge_server, judge))


def _stats(recipe: Recipe, run: Run, _progress: Progress) -> dict[str, int]:
    from mixdistill.builders.stats import compute_stats
    from mixdistill.cards.plots import draw_plots

    counts = compute_stats(recipe, run)
    return counts | {"plots": len(draw_plots(run))}


def _mix(recipe: Recipe, run: Run, progress: Progress) -> dict[str, int]:
    from mixdistill.builders.mix import build_mixes

    return build_mixes(recipe, run, progress)


def _card(recipe: Recipe, run: Run, _progress: Progress) -> dict[str, int]:
    from mixdistill.cards.dataset import build_dataset

    return build_dataset(recipe, run)


def _source_files(recipe: Recipe) -> list[Path]:
    sources = (*recipe.problems, *recipe.decontaminate.against)
    return [source.file for source in sources if source.file is not None]


def _teacher_files(recipe: Recipe) -> list[Path]:
    """Existing traces and weights that the recipe names."""
    files = (
        teacher.file if isinstance(teacher, DatasetTeacher) else getattr(teacher, "gguf", None)
        for teacher in recipe.teachers.values()
    )
    return [file for file in files if file is not None]


def _mix_files(recipe: Recipe, run: Run) -> list[Path]:
    return [run.mixes / name / file for name in recipe.mixes for file in ("train.parquet", "mix.json")]


def _plot_files(run: Run) -> list[Path]:
    return [run.plots / f"{plot}.{kind}" for plot in PLOTS for kind in ("svg", "png")]


def _dataset_files(run: Run) -> list[Path]:
    return sorted(path for path in run.dataset.rglob("*") if path.is_file())


def _dump(*fields: str) -> Callable[[Recipe, Run], object]:
    """The named parts of a recipe, as JSON values."""
    return lambda recipe, run: recipe.model_dump(mode="json", include=set(fields))


def _generate_settings(recipe: Recipe, run: Run) -> object:
    """What is asked depends on how it is judged where that decides what is asked next."""
    leniency = [recipe.verify.leniency] if any(map(recipe.asks_by_verdicts, recipe.teachers)) else []
    return [recipe.model_dump(mode="json", include={"teachers", "escalate", "limit"}), *leniency]


def _card_settings(recipe: Recipe, run: Run) -> object:
    outcomes = {stage: counts for stage, counts in run.outcomes().items() if stage in ("problems", "generate")}
    return [recipe.public(), recipe.model_dump(mode="json", include={"publish", "stats"}), outcomes]


def _tokenizer_files(recipe: Recipe) -> list[Path]:
    return [Path(recipe.stats.tokenizer)] if recipe.stats.tokenizer else []


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "problems",
            settings=_dump("problems", "decontaminate", "limit"),
            reads=lambda recipe, run: _source_files(recipe),
            writes=lambda recipe, run: [run.problems, run.dropped_problems, run.contamination],
            work=_problems,
        ),
        Stage(
            "generate",
            settings=_generate_settings,
            reads=lambda recipe, run: [run.problems, *_teacher_files(recipe)],
            writes=lambda recipe, run: [run.wanted, *run.trace_files()],
            work=_generate,
            about=_engines,
        ),
        Stage(
            "verify",
            settings=_dump("verify"),
            reads=lambda recipe, run: [run.problems, run.wanted, *run.trace_files()],
            writes=lambda recipe, run: [run.verdicts, run.suspects],
            work=_verify,
            shape=2,
        ),
        Stage(
            "stats",
            settings=_dump("stats", "limit"),
            reads=lambda recipe, run: [
                run.problems, run.wanted, *run.trace_files(), run.verdicts, *_tokenizer_files(recipe)
            ],
            writes=lambda recipe, run: [run.stats, run.difficulty, run.lengths, *_plot_files(run)],
            work=_stats,
            shape=3,
        ),
        Stage(
            "mix",
            settings=_dump("mixes", "mixing", "teachers", "limit"),
            reads=lambda recipe, run: [
                run.problems, run.wanted, *run.trace_files(), run.verdicts, run.suspects, run.difficulty,
                run.lengths,
            ],
            writes=lambda recipe, run: [*_mix_files(recipe, run), run.scored],
            work=_mix,
            shape=2,
        ),
        Stage(
            "card",
            settings=_card_settings,
            reads=lambda recipe, run: [
                run.problems, run.wanted, *run.trace_files(), run.verdicts, run.suspects, run.stats,
                *_plot_files(run), *_mix_files(recipe, run),
            ],
            writes=lambda recipe, run: _dataset_files(run),
            work=_card,
        ),
    )
}  # fmt: skip
