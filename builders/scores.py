"""Scores of traces under the student that is to be trained on them, computed once.

In: right traces by place, the recipe's student, prompt and scoring. Out: for each trace the measures of
`surprise`, or the reason why it has none. What was scored stands in an append-only file as soon as a batch is
through, and is not computed again for the same student, chat template, prompt, engine and number format. The text
is the one that the student would be trained on. No student is loaded where nothing is missing.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from mixdistill.builders.chat_template import reasoning_form
from mixdistill.builders.reasoning import ReasoningForm, join_reasoning
from mixdistill.builders.student import Student, load_student
from mixdistill.builders.student_text import Exchange, StudentText, as_trained
from mixdistill.builders.surprise import (
    Row,
    Surprises,
    Window,
    local_naturalness,
    local_windows,
    mean_logprob,
    rank_surprisal_ratio,
)
from mixdistill.builders.weights import Weights, find_weights
from mixdistill.errors import MissingExtraError, RecipeError
from mixdistill.files import read_parquet
from mixdistill.prompt import fill
from mixdistill.recipe import Recipe
from mixdistill.records import canonical_json, digest
from mixdistill.run import Progress, Run
from mixdistill.score_files import Fault, Score, ScoreWriter, cached_scores, write_scores
from mixdistill.scoring import Scoring
from mixdistill.tables import read_lengths
from mixdistill.teachers import without_folders
from mixdistill.trace_files import read_at

if TYPE_CHECKING:
    import polars

# Bytes of traces that are read, rendered and sorted together: about a million tokens.
_BYTES_AT_ONCE = 4_000_000
_VERSION = 1
"Raised when the same text gets other scores than before."
_MEASURES = ("mean_logprob", "rank_surprisal_ratio", "local_naturalness")


class Scorer(Protocol):
    """What computes log-probabilities and ranks."""

    def score(self, rows: Sequence[Row], /) -> Iterator[tuple[int, Surprises]]:
        """The number of each row with what the student thinks of it, in any order."""


class _Way(NamedTuple):
    """How this student scores."""

    weights: Weights
    student: Student
    form: ReasoningForm
    how: str
    "Equal only where scores are."
    window: int | None
    "Sentences in sight of each; None: the local measure is not wanted."
    most_tokens: int


def score_traces(
    recipe: Recipe,
    run: Run,
    found: "polars.DataFrame",
    progress: Progress,
) -> "polars.DataFrame":
    """The scores of the traces that stand at some places, and `scores.parquet` with the same.

    `found` has the columns file, start, end, trace_id and problem_id. Columns of the result, a row for each of
    `found` in its order: trace_id, student, mean_logprob, rank_surprisal_ratio, local_naturalness (only where the
    recipe compares by it) and fault, which says why there are none. Raises RecipeError, HubError or
    MixdistillError if there is no such student, or it cannot be loaded; what is scored by then is kept.
    """
    import polars as pl

    way = _way(recipe, run, found)
    known = _known(cached_scores(run, way.how), way)
    missing = found.join(known, on="trace_id", how="anti").with_columns(size=pl.col("end") - pl.col("start"))
    if missing.height:
        problems = read_parquet(run.problems, "problems").join(missing, on="problem_id", how="semi")
        named = problems.select("problem_id", "problem").iter_rows()
        questions = {problem_id: fill(recipe.mixing.prompt, text) for problem_id, text in named}
        ordered = missing.unique("trace_id").sort("size", "trace_id", descending=[True, False])
        _score_missing(recipe.mixing.scoring, run, ordered, questions, way, progress)
        known = _known(cached_scores(run, way.how), way)
    if way.window is None:
        known = known.with_columns(local_naturalness=pl.lit(None, pl.Float64))
    columns = ("trace_id", "student", *_MEASURES, "fault")
    scores = found.select("trace_id").join(known.select(columns), on="trace_id", how="left", maintain_order="left")
    write_scores(run, scores.unique("trace_id"))
    return scores


def form_of(student: str | None, run: Run, found: "polars.DataFrame") -> ReasoningForm:
    """How the reasoning of these traces is joined for the student, who is not asked where none has any.

    Raises what `reasoning_form` raises, StorageError if stats.json was not made yet.
    """
    lengths = read_lengths(run).join(found, on="trace_id", how="semi")
    reasons = lengths["reasoning_chars"] > 0
    return reasoning_form(student if reasons.any() else None, all_reason=bool(reasons.all()))


def _way(recipe: Recipe, run: Run, found: "polars.DataFrame") -> _Way:
    """How the recipe's student scores, without loading it."""
    name, scoring = recipe.mixing.student, recipe.mixing.scoring
    if name is None:
        raise RecipeError("mixing.student: name the folder or Hub id of the student that is to score traces")
    _need_torch()
    weights = find_weights(name, scoring.revision)
    student = load_student(weights.folder)
    form = form_of(weights.folder, run, found)
    content = [
        _VERSION, weights.identity, student.tokenizer.chat_template, recipe.mixing.prompt, list(form),
        scoring.engine, _dtype(scoring),
    ]  # fmt: skip
    return _Way(
        weights=weights,
        student=student,
        form=form,
        how=digest(canonical_json(content)),
        window=scoring.window if scoring.metric == "local_naturalness" else None,
        most_tokens=_most_tokens(student, scoring),
    )


def _need_torch() -> None:
    """Raises MissingExtraError where there is no torch or no transformers."""
    import importlib.util

    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, 'pip install "mixdistill[train]"')


def _dtype(scoring: Scoring) -> str:
    if scoring.engine == "vllm":
        from mixdistill.builders.scorer_vllm import vllm_dtype

        return vllm_dtype(scoring)
    from mixdistill.builders.scorer_transformers import dtype_name

    return dtype_name(scoring)


def _most_tokens(student: Student, scoring: Scoring) -> int:
    """The longest text that is scored: what the recipe says, and no more than the student can read."""
    said = (scoring.max_tokens, student.max_length, scoring.engine_args.get("max_model_len"))
    most = min((limit for limit in said if isinstance(limit, int)), default=1 << 30)
    return most - (scoring.engine == "vllm")  # vLLM has to write a token behind it


def _known(cached: "polars.DataFrame", way: _Way) -> "polars.DataFrame":
    """The cached scores that need not be computed again, one row a trace."""
    import polars as pl

    longer = pl.col("length") > way.most_tokens
    good = pl.col("fault").is_null() & ~longer
    if way.window is not None:
        good &= pl.col("window") == way.window
    too_long = pl.col("fault").eq("too_long") & longer
    lasting = pl.col("fault").is_not_null() & (pl.col("fault") != "too_long")
    return cached.filter(good | too_long | lasting).unique("trace_id", keep="last", maintain_order=True)


def _score_missing(
    scoring: Scoring,
    run: Run,
    missing: "polars.DataFrame",
    questions: Mapping[str, str],
    way: _Way,
    progress: Progress,
) -> None:
    """Scores the traces and writes each as soon as it is done."""
    done, tokens, started = 0, 0, time.monotonic()
    progress(0, missing.height, f"loading {without_folders(way.weights.name)}")
    writer = ScoreWriter(run)
    try:
        with _open(way.weights, scoring) as scorer:
            for group in _groups(missing):
                for score in _score_group(run, group, questions, way, scorer):
                    writer.write(score)
                    done, tokens = done + 1, tokens + (score.length or 0)
                    progress(done, missing.height, f"{tokens / (time.monotonic() - started):,.0f} tokens/s")
    finally:
        writer.close()


def _open(weights: Weights, scoring: Scoring) -> AbstractContextManager[Scorer]:
    if scoring.engine == "vllm":
        from mixdistill.builders.scorer_vllm import open_vllm_scorer

        return open_vllm_scorer(weights, scoring)
    from mixdistill.builders.scorer_transformers import open_transformers

    return open_transformers(weights, scoring)


def _groups(missing: "polars.DataFrame") -> Iterator["polars.DataFrame"]:
    """The traces in groups of some bytes, in their order."""
    import polars as pl

    before = pl.col("size").cum_sum() - pl.col("size")
    numbered = missing.with_columns(group=before // _BYTES_AT_ONCE)
    yield from numbered.partition_by("group", maintain_order=True, include_key=False)


def _score_group(
    run: Run, group: "polars.DataFrame", questions: Mapping[str, str], way: _Way, scorer: Scorer
) -> Iterator[Score]:
    """The score of each trace of a group, as it comes."""
    traces = read_at(run, group, "problem_id", "reasoning", "response")
    exchanges = [_exchange(trace, questions, way.form) for trace in traces.iter_rows(named=True)]
    texts = as_trained(way.student, exchanges)
    rows: list[Row] = []
    owners: list[int] = []
    missing: dict[int, list[int]] = {}
    for number, (trace_id, text) in enumerate(zip(group["trace_id"], texts, strict=True)):
        fault = _fault(text, way.most_tokens)
        if text is None or fault is not None:
            yield _score(trace_id, way, text, fault=fault)
            continue
        own = _rows(text, way.window)
        missing[number] = [*range(len(rows), len(rows) + len(own))]
        rows += own
        owners += [number] * len(own)
    found: dict[int, Surprises] = {}
    for row, surprises in scorer.score(rows):
        found[row] = surprises
        number = owners[row]
        if all(part in found for part in missing[number]):
            yield _measured(
                group["trace_id"][number], way, texts[number], [found.pop(part) for part in missing[number]]
            )


def _exchange(trace: Mapping[str, object], questions: Mapping[str, str], form: ReasoningForm) -> Exchange:
    response = str(trace["response"])
    assistant = join_reasoning(cast("str | None", trace.get("reasoning")), response, form)
    return Exchange(questions[str(trace["problem_id"])], cast("Mapping[str, str | None]", assistant), response)


def _fault(text: StudentText | None, most_tokens: int) -> Fault | None:
    """Why a text is not scored; None if it is."""
    if text is None:
        return "not_rendered"
    if not text.steps:
        return "no_tokens"
    return "too_long" if len(text.ids) > most_tokens else None


def _rows(text: StudentText, window: int | None) -> list[Row]:
    """What is computed for a text: all of it, and for the local measure what its later sentences see."""
    prompt, own = text.ids[: text.first], text.ids[text.first :]
    later = [] if window is None else local_windows(text.steps, window)[1:]
    windows = [Window(0, 0, len(own)), *later]
    return [Row([*prompt, *own[each.start : each.end]], text.first + each.first - each.start) for each in windows]


def _measured(trace_id: str, way: _Way, text: StudentText | None, parts: Sequence[Surprises]) -> Score:
    """The score of a text, from what the student thinks of each row of it."""
    whole, *later = parts
    if text is None or not all(math.isfinite(each) for part in parts for each in part.logprobs):
        return _score(trace_id, way, text, fault="no_number")
    measures = {
        "mean_logprob": mean_logprob(whole.logprobs),
        "rank_surprisal_ratio": rank_surprisal_ratio(whole.logprobs, whole.ranks),
    }
    if way.window is not None:
        starts = [0, *text.steps[:-1]]
        together = zip(starts[: len(text.steps) - len(later)], text.steps, strict=False)
        steps = [whole.logprobs[start:end] for start, end in together]
        measures["local_naturalness"] = local_naturalness([*steps, *(part.logprobs for part in later)])
    return _score(trace_id, way, text, measures)


def _score(
    trace_id: str,
    way: _Way,
    text: StudentText | None,
    measures: Mapping[str, float | None] | None = None,
    fault: Fault | None = None,
) -> Score:
    return Score(
        trace_id=trace_id,
        how=way.how,
        student=without_folders(way.weights.name),
        length=None if text is None else len(text.ids),
        tokens=None if text is None else len(text.ids) - text.first,
        window=way.window,
        fault=fault,
        **measures or {},
    )
