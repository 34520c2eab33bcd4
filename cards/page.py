"""The page of a run: one HTML file that holds everything, to filter its traces and read them side by side.

In: a recipe and its run folder, of which only some stages may be done. Out: the page as text. The texts lie in it
as gzip in base64, in chunks that the browser unpacks when a problem in them is looked at. What a trace says stays
data: `page.js` puts it in as text, and formulas element by element against a list of what MathML may hold.
"""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterable
from importlib.resources import files
from string import Template
from typing import NamedTuple

from mixdistill.cards.page_text import MAX_FORMULA_CHARS, MAX_NESTING, Piece, cut
from mixdistill.errors import StorageError
from mixdistill.recipe import Recipe
from mixdistill.records import Problem
from mixdistill.run import Run
from mixdistill.tables import Stats, read_mix, read_problems, read_stats, read_traces, read_verdicts
from mixdistill.teachers import without_folders

_CHUNK_CHARS = 256 << 10
_PREVIEW_CHARS = 110
# The page's policy forbids the attribute `style`, even where it is only parsed; `page.js` applies these itself.
_STYLE = re.compile(r"(<[a-z]+(?: [^<>]*?)?) style=")
# Commands that traces use and math_core does not know.
_MACROS = {
    "dotsb": r"\cdots", "dotsm": r"\cdots", "dotsi": r"\cdots", "dotso": r"\ldots", "mbox": r"\text{#1}",
    "tag": r"\qquad\text{(#1)}", "cr": r"\\",
}  # fmt: skip
_OF_TRACE = (
    "trace_id", "problem_id", "teacher", "style", "size", "sample", "reasoning", "response", "finish_reason",
    "error", "completion_tokens", "latency_seconds",
)  # fmt: skip
_OF_VERDICT = ("status", "answer", "rule", "method", "reason", "judge_status", "judge_reason", "repetition")


class _Chunk(NamedTuple):
    """Problems with their traces, and the formulas in them."""

    problems: list[dict[str, object]]
    formulas: list[list[object]]
    "Of each the text as it stands, its MathML (None: not to be drawn) and whether it has a line of its own."


def make_page(recipe: Recipe, run: Run) -> str:
    """The page of a run, as HTML. Raises StorageError if there are no problems yet."""
    problems = read_problems(run)
    missing: list[dict[str, str]] = []
    traces = _traces_by_problem(run, missing)
    stats = _stats(run, missing)
    index, chunks = _pack(problems, traces)
    index |= {
        "name": recipe.name, "language": recipe.language, "stats": stats, "mixes": _mixes(recipe, run, missing),
        "missing": missing,
    }  # fmt: skip
    return _assemble(f"{recipe.name}: traces", recipe.language, index, chunks)


def _traces_by_problem(run: Run, missing: list[dict[str, str]]) -> dict[str, list[dict[str, object]]]:
    """The traces with their verdicts, long ones first."""
    import polars as pl

    if not run.wanted.exists():
        missing.append({"what": "No traces yet", "command": "mixdistill generate"})
        return {}
    traces = read_traces(run).select(_OF_TRACE).sort("style", "teacher", "sample", maintain_order=True)
    if run.verdicts.exists():
        verdicts = read_verdicts(run).select("trace_id", *_OF_VERDICT)
        traces = traces.join(verdicts, on="trace_id", how="left", maintain_order="left")
    else:
        missing.append({"what": "No trace is judged yet", "command": "mixdistill verify"})
        traces = traces.with_columns(pl.lit(None).alias(name) for name in _OF_VERDICT)
    found: dict[str, list[dict[str, object]]] = {}
    for row in traces.iter_rows(named=True):
        found.setdefault(str(row["problem_id"]), []).append(row)
    return found


def _stats(run: Run, missing: list[dict[str, str]]) -> Stats | None:
    if not run.stats.exists():
        missing.append({"what": "No lengths and pass rates yet", "command": "mixdistill stats"})
        return None
    stats = read_stats(run)
    for teacher in stats["teachers"]:
        teacher["model"] = without_folders(teacher["model"])
    return stats


def _mixes(recipe: Recipe, run: Run, missing: list[dict[str, str]]) -> list[object]:
    mixes: list[object] = []
    lacking = []
    for name in recipe.mixes:
        try:
            mixes.append(read_mix(run, name))
        except StorageError:
            lacking.append(name)
    if lacking:
        missing.append({"what": f"No mix {', '.join(lacking)} yet", "command": "mixdistill mix"})
    return mixes


def _pack(
    problems: Iterable[Problem], traces: dict[str, list[dict[str, object]]]
) -> tuple[dict[str, object], list[str]]:
    """What the filters need, and the texts in chunks."""
    names: dict[str, dict[str, int]] = {
        kind: {} for kind in ("teachers", "styles", "statuses", "levels", "subjects")
    }
    rows: list[object] = []
    chunks: list[str] = []
    draw, chunk, chars = _Formulas(), _Chunk([], []), 0

    def number(kind: str, name: object) -> int | None:
        return None if name is None else names[kind].setdefault(str(name), len(names[kind]))

    for problem in problems:
        found = traces.get(problem.problem_id, [])
        if chars > _CHUNK_CHARS:
            chunks.append(_packed(chunk._asdict()))
            chunk, chars = _Chunk([], []), 0
        rows.append([
            problem.problem_id, _preview(problem.problem), number("levels", problem.level),
            number("subjects", problem.subject), len(chunks), len(chunk.problems),
            [[number("teachers", trace["teacher"]), number("styles", trace["style"]),
              number("statuses", _status(trace))] for trace in found],
        ])  # fmt: skip
        chunk.problems.append(_problem(problem, found, draw, chunk))
        chars += len(problem.problem)
        chars += sum(len(str(trace["reasoning"] or "")) + len(str(trace["response"])) for trace in found)
    if chunk.problems:
        chunks.append(_packed(chunk._asdict()))
    return {kind: list(numbers) for kind, numbers in names.items()} | {"problems": rows}, chunks


def _status(trace: dict[str, object]) -> str:
    """A failed request has no verdict, and its error names hosts, which are nobody's business."""
    return "failed" if trace["error"] else str(trace["status"] or "not judged")


def _preview(text: str) -> str:
    pieces = cut(text[: 4 * _PREVIEW_CHARS])
    line = " ".join("".join(piece.formula or piece.text for piece in pieces).split())
    return line if len(line) <= _PREVIEW_CHARS else f"{line[: _PREVIEW_CHARS - 1]}…"


class _Formulas:
    """Draws formulas as MathML, each once."""

    def __init__(self) -> None:
        import math_core

        self._converter = math_core.LatexToMathML(macros=_MACROS, fancy_error=False)
        self._refusal = math_core.LatexError
        self._known: dict[tuple[str, bool], str | None] = {}
        self._chunk: _Chunk | None = None
        self._places: dict[Piece, int] = {}

    def pieces(self, text: str, chunk: _Chunk) -> list[str | int]:
        """The text as plain parts and places in the chunk's formulas."""
        return [piece.text if piece.formula is None else self._place(piece, chunk) for piece in cut(text)]

    def answer(self, text: str, chunk: _Chunk) -> list[str | int]:
        """An answer or reference, which is often a formula without marks."""
        pieces = cut(text)
        is_bare = all(piece.formula is None for piece in pieces) and any(sign in text for sign in "\\^_")
        bare = Piece(text, text)
        if is_bare and len(text) <= MAX_FORMULA_CHARS and self._mathml(bare) is not None:
            return [self._place(bare, chunk)]
        return self.pieces(text, chunk)

    def _place(self, piece: Piece, chunk: _Chunk) -> int:
        if chunk is not self._chunk:
            self._chunk, self._places = chunk, {}
        if piece not in self._places:
            self._places[piece] = len(chunk.formulas)
            chunk.formulas.append([piece.text, self._mathml(piece), int(piece.display)])
        return self._places[piece]

    def _mathml(self, piece: Piece) -> str | None:
        """None for what is no LaTeX that it knows: the page shows that as it stands."""
        formula = piece.formula or ""
        key = (formula, piece.display)
        if _nesting(formula) > MAX_NESTING:
            return None  # math_core recurses: some 400 braces overflow a stack of 1 MiB, which ends the process
        if key not in self._known:
            try:
                drawn = self._converter.convert_with_local_state(formula, displaystyle=piece.display)
                self._known[key] = _STYLE.sub(r"\1 data-style=", drawn)
            except self._refusal:
                self._known[key] = None
        return self._known[key]


def _nesting(formula: str) -> int:
    """How many braces are open at once at most."""
    depth = deepest = 0
    for sign in formula:
        depth += (sign == "{") - (sign == "}")
        deepest = max(deepest, depth)
    return deepest


def _problem(
    problem: Problem, traces: list[dict[str, object]], draw: _Formulas, chunk: _Chunk
) -> dict[str, object]:
    """What is shown of a problem; what is None or empty is left out."""
    shown = {
        "problem": draw.pieces(problem.problem, chunk), "reference": draw.answer(problem.reference, chunk),
        "solution": draw.pieces(problem.solution or "", chunk), "source": problem.source,
        "license": problem.license, "answer_type": problem.answer_type,
        "traces": [_trace(trace, draw, chunk) for trace in traces],
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value}


def _trace(trace: dict[str, object], draw: _Formulas, chunk: _Chunk) -> dict[str, object]:
    shown = {
        "id": trace["trace_id"], "size": trace["size"], "sample": trace["sample"], "rule": trace["rule"],
        "method": trace["method"], "finish_reason": trace["finish_reason"], "tokens": trace["completion_tokens"],
        "seconds": trace["latency_seconds"],
        "repetition": trace["repetition"], "judge_status": trace["judge_status"],
    }  # fmt: skip
    for name in ("reasoning", "response"):
        shown[name] = draw.pieces(str(trace[name] or ""), chunk)
    shown |= {name: trace[name] for name in ("reason", "judge_reason")}
    if trace["answer"] is not None:
        shown["answer"] = draw.answer(str(trace["answer"]), chunk)
    return {name: value for name, value in shown.items() if value not in (None, [])}


def _packed(value: object) -> str:
    """JSON as gzip in base64: none of its signs means anything in HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(text, compresslevel=6, mtime=0)).decode("ascii")


def _assemble(title: str, language: str, index: object, chunks: list[str]) -> str:
    folder = files("mixdistill.cards")
    parts = (f'<script type="application/gzip+base64" class="chunk">{chunk}</script>' for chunk in chunks)
    page, style, script = (
        folder.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    return Template(page).substitute(
        title=html.escape(title), language=html.escape(language), style=style, script=script,
        style_hash=_hash(style), script_hash=_hash(script), index=_packed(index),
        chunks="\n".join(parts),
    )  # fmt: skip


def _hash(text: str) -> str:
    """The source of a script or style, as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
