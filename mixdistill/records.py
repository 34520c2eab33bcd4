"""The rows that the stages hand on: Problem, Trace, Verdict, Suspect, MixRow.

A row is a frozen dataclass, a table is a Polars frame; `polars_schema` derives the frame's schema from the
dataclass, so the two cannot drift apart. Ids are hashes of content: the same input has the same id on every
machine. Nothing here reads or writes files.
"""

import hashlib
import json
import types
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Literal, TypedDict, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    import polars

Style = Literal["long", "short"]
Size = Literal["large", "small"]
AnswerType = Literal["math", "number", "choice", "text", "reasoning_gym", "code"]
Leniency = Literal["strict", "default", "lenient"]
Status = Literal["correct", "incorrect", "no_answer", "truncated", "unparsable", "timeout", "unscored"]
JudgeStatus = Literal["equivalent", "different", "unsure", "unscored"]
Trainer = Literal["trl", "llamafactory", "axolotl"]
SuspectKind = Literal["teachers_agree", "unreadable", "solution_disagrees"]
DropReason = Literal[
    "unreadable_row", "wrong_type", "empty_problem", "no_reference", "duplicate", "conflicting_reference",
    "contaminated", "near_duplicate",
]  # fmt: skip
HitKind = Literal["exact", "ngram", "renumbered", "fuzzy", "minhash"]


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Message(TypedDict):
    """One turn of a conversation, as chat templates and OpenAI-compatible servers read it."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem with its known answer."""

    problem_id: str
    "Hash of the text, the reference and the answer type."
    problem: str
    "The question, as the student sees it."
    reference: str
    "The known final answer."
    solution: str | None = None
    "A worked solution, where the source has one."
    source: str
    "Dataset, file or generator that it came from."
    source_id: str | None = None
    "Its id or row number there."
    license: str | None = None
    "Licence of the source, as an SPDX or Hub id; None is unknown."
    subject: str | None = None
    "Topic, as the source names it."
    level: str | None = None
    "Difficulty, as the source names it."
    answer_type: AnswerType = "math"
    "How an answer is compared with the reference."
    grading: str | None = None
    "JSON object with what the comparison needs besides the reference: options, tolerance, tests ..."


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedProblem:
    """A row of a problem source that was not kept, and why."""

    place: str
    "File and line, or dataset and row."
    reason: DropReason
    "The kind of fault, to be counted."
    detail: str
    "The fault in words."
    problem_id: str | None = None
    "Id of the problem, where the row had one to give."
    row: str
    "The row as JSON text, at most 10,000 characters."


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkHit:
    """A problem that was dropped because it stands in a benchmark, and the evidence: one row a pair."""

    problem_id: str
    "Id of the dropped problem."
    place: str
    "File and line, or dataset and row, that it came from."
    problem: str
    "Its text."
    benchmark: str
    "Name of the benchmark."
    item: str
    "Id of the benchmark's problem, or its row number there."
    item_problem: str
    "Text of the benchmark's problem."
    kind: HitKind
    "The test that found it, the surest one."
    score: float
    "From 0 to 1: share of the shorter text that is covered (ngram), likeness (fuzzy), Jaccard (minhash), else 1."
    shared: str
    "Words and signs that both have, in order; at most 500 characters."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One chain of thought with its answer, or the error that came instead."""

    trace_id: str
    "Hash of the request and what came back."
    problem_id: str
    "The problem that was asked."
    teacher: str
    "Name of the teacher in the recipe."
    model: str
    "Model that the teacher was asked for."
    revision: str | None = None
    "Revision of the model."
    style: Style
    "Whether the teacher was asked for a long or a short chain of thought."
    size: Size | None = None
    "Whether the teacher is the large or the small one of a pair."
    sample: int
    "0 for the first trace of this problem by this teacher."
    prompt: tuple[Message, ...]
    "The messages that the teacher was sent."
    reasoning: str | None = None
    "Text of the thinking, kept apart from the response where the model does."
    response: str
    "The final text; empty if there was an error."
    finish_reason: str | None = None
    "stop, length, content_filter ... as the server said; None is unknown."
    prompt_tokens: int | None = None
    "Tokens of the prompt, by the teacher's own count."
    completion_tokens: int | None = None
    "Tokens of reasoning and response together, by the teacher's own count."
    reasoning_tokens: int | None = None
    "Tokens of the reasoning, by the teacher's own count."
    max_tokens: int | None = None
    "Limit on completion_tokens that the request set."
    seed: int | None = None
    "Seed that the request set."
    latency_seconds: float | None = None
    "Wall-clock time from request to answer."
    cost_usd: float | None = None
    "Price of the request, where it is known."
    error: str | None = None
    "Why there is no response; None when there is one."
    request_key: str
    "Hash of messages, model, revision, sampling settings and sample: what a teacher call is known by."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the verifier says about one trace."""

    trace_id: str
    "The trace that was judged."
    problem_id: str
    "The problem whose reference it was judged against."
    status: Status
    "A status, never a bool: `unscored` is a fault of the reference, `timeout` is nobody's."
    answer: str | None = None
    "The answer that was found in the response."
    rule: str | None = None
    "The rule that found it."
    method: str | None = None
    "The tier that decided: text, number, set, symbolic ..."
    reason: str
    "Why, in words."
    verifier: str = ""
    "Version and leniency of the verifier that said so."
    judge_status: JudgeStatus | None = None
    "What a model says about an answer that the verifier could not decide; None: not asked. Counts nowhere."
    judge_reason: str | None = None
    "Which model said it, and in which words if they were none of those it was to use."
    repetition: float | None = None
    "Share of the text that stands in repeated stretches, from 0 to 1: a trace that loops has much of it."
    seconds: float
    "Time that judging took."


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a model said about one undecided answer; it is kept for good, for asking again would cost again."""

    request_key: str
    "Hash of the question and the model."
    problem_id: str
    answer: str
    model: str
    status: JudgeStatus | None = None
    "None if the request failed."
    reason: str
    "Which model said it; or why there is no status."
    max_tokens: int
    "Limit that the request set."
    cut: bool = False
    "Whether the model was cut by that limit before it said anything."


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A reference that looks wrong, and what speaks against it."""

    problem_id: str
    problem: str
    reference: str
    kind: SuspectKind
    "What speaks against it."
    answer: str | None = None
    "The answer that teachers or the solution give instead; None for a reference that cannot be read."
    evidence: str
    "Who says so, with how many of how many, in words."
    source: str
    license: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MixRow:
    """One row of a mix: what a student is trained on, and where it comes from."""

    problem_id: str
    trace_id: str
    prompt: tuple[Message, ...]
    "The user turn, as TRL's prompt-completion form has it."
    completion: tuple[Message, ...]
    "The assistant turn: the reasoning where it is apart, as the student's template wants it, then the response."
    messages: tuple[Message, ...]
    "Both turns, as the messages form has them."
    problem: str
    reference: str
    answer: str
    "What the trace answers; judged equal to the reference."
    part: str
    "The part of the mix that the row belongs to."
    teacher: str
    model: str
    style: Style
    size: Size | None = None
    completion_tokens: int | None = None
    "By the tokenizer that stats.tokenizer names, else by the teacher's own count."
    completion_chars: int
    source: str
    license: str | None = None
    subject: str | None = None
    level: str | None = None


def digest(*parts: str) -> str:
    """Hash of some texts, 24 hex digits (96 bits: no clash to be expected below 10^12 rows)."""
    return hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def canonical_json(value: object) -> str:
    """The one JSON text of a value: keys sorted, no spaces, nothing escaped that need not be."""
    return _CANONICAL.encode(value)


def normalise_text(text: str) -> str:
    """The text in Unicode NFC with Unix newlines and no blank edges.

    A lone surrogate, which JSON can hold and no file can, becomes a question mark.

    >>> normalise_text(" two\\r\\nlines ")
    'two\\nlines'
    """
    text = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", text).strip()


def same_text_key(text: str) -> str:
    """Equal for two texts that differ only in white space or in Unicode spelling."""
    return " ".join(normalise_text(text).split())


def problem_id(problem: str, reference: str, answer_type: AnswerType, grading: str | None = None) -> str:
    """The id of a problem: its text and reference, white space folded, and how answers are compared with it."""
    how = answer_type if grading is None else f"{answer_type} {grading}"
    return "p-" + digest(same_text_key(problem), same_text_key(reference), how)


def request_key(
    messages: Iterable[Message], model: str, revision: str | None, sampling: Mapping[str, object], sample: int
) -> str:
    """The id of a teacher call.

    `sampling` leaves out `max_tokens`: raising the limit asks again only for traces that it cut. Where the
    model is served, and under which name the teacher stands in the recipe, are no part of it either.
    """
    content = [list(messages), model, revision, dict(sampling), sample]
    return "r-" + digest(canonical_json(content))


def trace_id(key: str, reasoning: str | None, response: str, finish_reason: str | None) -> str:
    """The id of a trace: the request and what came back."""
    return "t-" + digest(key, reasoning or "", response, finish_reason or "")


def draw_seed(run_seed: int, *parts: object) -> int:
    """A seed in [0, 2^31) for one draw, the same for the same run seed and parts."""
    text = canonical_json([run_seed, *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1


@cache
def polars_schema(record: type) -> "polars.Schema":
    """The Polars schema of a record class, columns in the order of its fields."""
    import polars as pl

    hints = get_type_hints(record)
    return pl.Schema({field.name: _dtype(hints[field.name]) for field in fields(record)})


def to_frame(record: type, rows: Iterable[object]) -> "polars.DataFrame":
    """A frame with the schema of the record class, one row a record."""
    import polars as pl

    names = [field.name for field in fields(record)]
    columns: dict[str, list[object]] = {name: [] for name in names}
    for row in rows:
        for name in names:
            value = getattr(row, name)
            columns[name].append(list(value) if isinstance(value, tuple) else value)
    return pl.DataFrame(columns, schema=polars_schema(record))


def _dtype(hint: object) -> "polars.DataType":
    import polars as pl

    scalar: dict[object, polars.DataType] = {
        str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean(),
        Message: pl.Struct({"role": pl.String(), "content": pl.String()}),
    }  # fmt: skip
    if hint in scalar:
        return scalar[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return pl.String()
    if origin is tuple:
        return pl.List(_dtype(arguments[0]))
    if origin in (Union, types.UnionType):
        return _dtype(next(argument for argument in arguments if argument is not types.NoneType))
    raise TypeError(f"no Polars type for {hint}")
