"""What would spoil the training: every row of the mixes as the trainer makes it for the student, and checked.

In: `train.parquet` and `mix.json` of each mix, the student's tokenizer and chat template, a trainer, a maximum
length and a batch size. Out: a Diagnosis: the findings, worst first, each with its count and three examples, and
the figures of each arm. Changes nothing and trains nothing; reads the rows in batches, so that the memory does not
grow with their text.
"""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, cast

from mixdistill.builders.findings import (
    FAULTS,
    ROW_CHECKS,
    Asked,
    Row,
    Severity,
    around,
    asked_of,
    row_of,
)
from mixdistill.builders.rendering import Cut, Rendered, cut, render
from mixdistill.builders.student import Student, Turn, injected_prompt, load_student
from mixdistill.errors import RecipeError, RecordError, StorageError
from mixdistill.recipe import Recipe
from mixdistill.records import Trainer, canonical_json
from mixdistill.run import Progress, Run
from mixdistill.tables import read_mix

_COLUMNS = ("problem_id", "trace_id", "answer", "prompt", "completion")
_BATCH = 512
_EXAMPLES = 3
_MAY_DIFFER = 0.05
_CUT_TOKENS = 12

# What a trainer does with rows that are too long, the key that sets the length, and its default.
_LENGTHS = {
    "trl": ("keeps their first tokens and says nothing", "max_length of SFTConfig", 1024),
    "llamafactory": ("cuts the prompt, the response or both", "cutoff_len", 2048),
    "axolotl": ("drops them", "sequence_len", 512),
}
_AXOLOTL_STOP = "set eot_tokens in axolotl's config to the token that ends the turn: it trains on eos_token only"


class Example(NamedTuple):
    """One case of a finding."""

    problem_id: str | None
    "None for a finding about whole arms."
    trace_id: str | None
    arm: str
    excerpt: str
    "The text around the place."


class Finding(NamedTuple):
    """One thing that is wrong, with how many rows have it."""

    code: str
    severity: Severity
    what: str
    n: int
    of: int
    "Rows of all arms; for a finding about arms, the arms of the contrast."
    unit: str
    "What is counted: rows or arms."
    by_arm: dict[str, int]
    detail: str
    "What else there is to say; may be empty."
    way_out: str
    examples: tuple[Example, ...]


class ArmFigures(NamedTuple):
    """What one epoch of an arm is. Tokens are the student's, after the cut."""

    arm: str
    rows: int
    trained_rows: int
    "Rows that the trainer does not drop."
    tokens: int
    loss_tokens: int
    "Tokens that the student is trained on."
    longest: int
    "Tokens of the longest row before the cut; likewise p50 and p99."
    p50: int
    p99: int
    steps: int
    "Batches of an epoch, the last one may be smaller."


class Diagnosis(NamedTuple):
    """What the doctor found."""

    student: str
    trainer: Trainer
    max_length: int | None
    limit: str
    "Who set the maximum length."
    batch_size: int
    findings: tuple[Finding, ...]
    "Errors first."
    arms: tuple[ArmFigures, ...]
    notes: tuple[str, ...]
    "What is good to know, and no fault."

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    def as_json(self) -> dict[str, object]:
        """The same as plain values."""
        findings = [
            finding._asdict() | {"examples": [example._asdict() for example in finding.examples]}
            for finding in self.findings
        ]
        arms = [arm._asdict() for arm in self.arms]
        return self._asdict() | {"errors": self.errors, "findings": findings, "arms": arms}


def examine(
    recipe: Recipe,
    run: Run,
    *,
    student: str | None = None,
    trainer: Trainer = "trl",
    max_length: int | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """The diagnosis of all mixes of the recipe, for a student (default: mixing.student) and a trainer.

    `max_length` in tokens; default: as much as the student can read. Raises StorageError if a mix is not there
    yet, RecipeError if no student is named or it has no chat template, RecordError if a file cannot be read, and
    what `load_student` raises.
    """
    patient = load_student(*_named(recipe, student))
    length, limit = (patient.max_length, patient.limit) if max_length is None else (max_length, "as asked for")
    mixes = {name: read_mix(run, name) for name in recipe.mixes}
    total = sum(mix["rows"] for mix in mixes.values())
    tally, asked = _Tally(), asked_of(patient, recipe.language)
    charts, done = {}, 0
    for name in recipe.mixes:
        chart = charts[name] = _Chart(name, per_problem=recipe.mixing.per_problem)
        for batch in _batches(run.mixes / name / "train.parquet", name):
            made = render(patient, [row.prompt for row in batch], [row.completion for row in batch], trainer)
            for row, rendered in zip(batch, made, strict=True):
                _examine_row(row, rendered, chart, tally, asked, patient, trainer, length)
            done += len(batch)
            if progress is not None:
                progress(done, total, "")
    arms = {name: chart.figures(batch_size or recipe.mixing.batch_size) for name, chart in charts.items()}
    n_rows = sum(arm.rows for arm in arms.values())
    findings = [
        *tally.findings(n_rows, trainer, length),
        *_injected(patient, charts),
        *_differences(recipe, arms, [tuple(mix["contrast"]) for mix in mixes.values()]),
    ]
    return Diagnosis(
        student=patient.name,
        trainer=trainer,
        max_length=length,
        limit=limit,
        batch_size=batch_size or recipe.mixing.batch_size,
        findings=tuple(sorted(findings, key=lambda one: (one.severity, [*FAULTS].index(one.code)))),
        arms=tuple(arms.values()),
        notes=tuple(_notes(patient, trainer, length, charts)),
    )


class _Tally:
    """Counts faults by code and arm, and keeps the first examples."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[str, list[Example]] = {code: [] for code in FAULTS}
        self.lost_tokens = 0
        self.lost_ends = 0
        "Rows that lost what ends the turn."

    def add(self, code: str, row: Row, excerpt: Callable[[], str]) -> None:
        self._counts[code, row.arm] += 1
        if len(self._examples[code]) < _EXAMPLES:
            self._examples[code].append(Example(row.problem_id, row.trace_id, row.arm, excerpt()))

    def findings(self, n_rows: int, trainer: Trainer, max_length: int | None) -> Iterator[Finding]:
        for code, fault in FAULTS.items():
            by_arm = {arm: n for (counted, arm), n in self._counts.items() if counted == code}
            if not by_arm:
                continue
            severity, detail, way_out = fault.severity, "", fault.way_out
            if code == "cut":
                severity = "error" if self.lost_ends else "warning"
                detail = (
                    f"{trainer} {_LENGTHS[trainer][0]}: {self.lost_tokens:,} tokens beyond {max_length:,} "
                    f"are lost, and in {self.lost_ends:,} rows the end of the turn with them"
                )
            if code == "eos_not_trained" and trainer == "axolotl":
                way_out = _AXOLOTL_STOP
            yield Finding(
                code, severity, fault.what, sum(by_arm.values()), n_rows, "rows", by_arm, detail, way_out,
                tuple(self._examples[code]),
            )  # fmt: skip


class _Chart:
    """What is written down of an arm while its rows go by."""

    def __init__(self, arm: str, *, per_problem: int) -> None:
        self.arm = arm
        self._per_problem = per_problem
        self._lengths, self._kept, self._loss = array("q"), array("q"), array("q")
        self._seen: set[bytes] = set()
        self._problems: Counter[str] = Counter()
        self.first: Row | None = None

    def take(self, row: Row, length: int, left: Cut) -> None:
        self.first = self.first or row
        self._lengths.append(length)
        self._kept.append(left.tokens)
        self._loss.append(left.loss_tokens)

    def repeats(self, row: Row) -> str | None:
        """Whether the row is a duplicate, or one too many of its problem."""
        key = blake2b(canonical_json([row.prompt, row.completion]).encode(), digest_size=12).digest()
        self._problems[row.problem_id] += 1
        if key in self._seen:
            return "duplicates"
        self._seen.add(key)
        return "same_problem" if self._problems[row.problem_id] > self._per_problem else None

    def __len__(self) -> int:
        return len(self._lengths)

    def longer_than(self, length: int) -> int:
        return sum(one > length for one in self._lengths)

    def figures(self, batch_size: int) -> ArmFigures:
        ordered = sorted(self._lengths)
        trained = sum(kept > 0 for kept in self._kept)
        return ArmFigures(
            arm=self.arm,
            rows=len(ordered),
            trained_rows=trained,
            tokens=sum(self._kept),
            loss_tokens=sum(self._loss),
            longest=max(ordered, default=0),
            p50=_nearest_rank(ordered, 0.5),
            p99=_nearest_rank(ordered, 0.99),
            steps=math.ceil(trained / batch_size),
        )


def _examine_row(
    row: Row, rendered: Rendered | str, chart: _Chart, tally: _Tally, asked: Asked, student: Student,
    trainer: Trainer, max_length: int | None,
) -> None:  # fmt: skip
    """Counts what is wrong with a row. Of one that gives no loss, nothing else is said about its tokens."""
    if (repeat := chart.repeats(row)) is not None:
        tally.add(repeat, row, lambda: around(str(row.prompt[-1].get("content") or ""), 0))
    if isinstance(rendered, str):
        chart.take(row, 0, Cut(0, 0, False, 0))
        tally.add("refused", row, lambda: rendered)
        return
    left = cut(rendered, trainer, max_length)
    chart.take(row, len(rendered.ids), left)
    if not (rendered.loss and (left.loss_tokens or trainer == "axolotl")):
        told = f"{rendered.prompt_tokens:,} tokens of prompt: {around(rendered.text, rendered.completion_start)}"
        tally.add("no_loss", row, lambda: told)
        return
    if left.place < len(rendered.ids):
        tally.lost_tokens += len(rendered.ids) - left.tokens
        tally.lost_ends += not left.keeps_stop
        tally.add("cut", row, lambda: _cut_place(student, rendered, left.place))
    for code, check in ROW_CHECKS.items():
        if (found := check(row, rendered, asked)) is not None:
            tally.add(code, row, partial(str, found))


def _cut_place(student: Student, rendered: Rendered, place: int) -> str:
    ids = rendered.ids
    kept, lost = ids[max(0, place - _CUT_TOKENS) : place], ids[place : place + _CUT_TOKENS]
    before, behind = (" ".join(str(student.tokenizer.decode(some)).split()) for some in (kept, lost))
    return f"…{before} ✂ {behind}… ({len(ids):,} tokens)"


def _named(recipe: Recipe, student: str | None) -> tuple[str, Path | None]:
    """The student to load, and the file that stands in for its template: mixing.student may be one."""
    mixed_for = recipe.mixing.student
    template = Path(mixed_for) if mixed_for and Path(mixed_for).is_file() else None
    if student is None and template is not None:
        raise RecipeError(
            f"mixing.student is the template file {mixed_for}, which has no tokenizer; name the student's folder "
            "or Hub id with --student, and its rows are rendered with that template"
        )
    name = student or mixed_for
    if name is None:
        raise RecipeError("no student to examine the mixes for; set mixing.student, or name one with --student")
    return name, template


def _batches(path: Path, arm: str) -> Iterator[list[Row]]:
    """The rows of a mix, some hundred at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH, columns=list(_COLUMNS)):
                yield [
                    row_of(arm, row, cast("list[Turn]", row["prompt"]), cast("list[Turn]", row["completion"]))
                    for row in batch.to_pylist()
                ]
    except FileNotFoundError as error:
        raise StorageError(f"{path}: not there yet; run 'mixdistill mix' first") from error
    except (pa.ArrowInvalid, KeyError, IndexError) as error:
        raise RecordError(f"{path}: not the rows of a mix; remove it and run 'mixdistill mix'") from error


def _injected(student: Student, charts: dict[str, _Chart]) -> Iterator[Finding]:
    """What the template puts before the rows of each arm."""
    fault = FAULTS["system_prompt"]
    examples, by_arm, texts = [], {}, []
    for name, chart in charts.items():
        if (row := chart.first) is None:
            continue
        text = injected_prompt(student, system=row.prompt[0].get("role") == "system")
        if text:
            texts.append(text)
            by_arm[name] = len(chart)
            examples.append(Example(row.problem_id, row.trace_id, name, around(text, 0)))
    if texts:
        dated = " It holds the day on which it is rendered." if _tells_the_day(texts[0]) else ""
        yield Finding(
            fault.code, fault.severity, fault.what, sum(by_arm.values()), sum(map(len, charts.values())), "rows",
            by_arm, f"The text: {texts[0]!r}.{dated}", fault.way_out, tuple(examples[:_EXAMPLES]),
        )  # fmt: skip


def _tells_the_day(text: str) -> bool:
    from datetime import date

    today = date.today()
    return any(today.strftime(form) in text for form in ("%d %b %Y", "%Y-%m-%d", "%d %B %Y", "%B %d, %Y"))


def _differences(
    recipe: Recipe, arms: dict[str, ArmFigures], contrasts: Sequence[tuple[str, ...]]
) -> Iterator[Finding]:
    """Contrasts whose arms differ by more than 5% in steps or tokens with loss; an error where matched."""
    matched = {"steps": recipe.mixing.match in ("steps", "problems"), "tokens": recipe.mixing.match == "tokens"}
    for contrast in sorted(set(contrasts)):
        there = [arms[name] for name in contrast if name in arms]
        for what in ("steps", "tokens"):
            figures = {arm.arm: arm.steps if what == "steps" else arm.loss_tokens for arm in there}
            most = max(figures.values(), default=0)
            off = {arm: n for arm, n in figures.items() if n < (1 - _MAY_DIFFER) * most}
            if not off:
                continue
            fault = FAULTS[f"{what}_differ"]
            examples = [Example(None, None, arm, f"{n:,} of {most:,} {what}") for arm, n in off.items()]
            told = ", ".join(f"{arm} {n:,}" for arm, n in figures.items())
            yield Finding(
                fault.code, "error" if matched[what] else fault.severity, fault.what, len(off), len(there), "arms",
                dict.fromkeys(off, 1), f"{told}; mixing.match is {recipe.mixing.match}", fault.way_out,
                tuple(examples[:_EXAMPLES]),
            )  # fmt: skip


def _notes(student: Student, trainer: Trainer, max_length: int | None, charts: dict[str, _Chart]) -> Iterator[str]:
    _, key, default = _LENGTHS[trainer]
    longer = sum(chart.longer_than(default) for chart in charts.values())
    if longer and max_length != default:
        rows = sum(map(len, charts.values()))
        yield (
            f"{longer:,} of {rows:,} rows are longer than {default:,} tokens, the limit of {trainer} where none "
            f"is set; set {key}{f' to {max_length}' if max_length else ''}."
        )
    if max_length and student.max_length and max_length > student.max_length:
        yield f"The student reads at most {student.max_length:,} tokens ({student.limit})."
    if student.tokenizer.pad_token_id in (student.tokenizer.eos_token_id, None):
        yield (
            "The student pads with its EOS. TRL 1.16, LLaMA-Factory and axolotl mask padding by its place, so the "
            "EOS of a row is trained; transformers' DataCollatorForLanguageModeling would mask it."
        )


def _nearest_rank(ordered: Sequence[int], share: float) -> int:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0
