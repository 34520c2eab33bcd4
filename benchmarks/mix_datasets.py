"""The work of `stats` and of four mixes, written as a user of `datasets` writes it: load, map, filter, shuffle.

In: the traces, verdicts, problems and suspects of a run folder. Out: four mixes as Parquet, and numbers by
teacher. The rule is ours: right traces that were not cut, of problems that both teachers got right, one trace a
problem, rows in exact ratio. One map adds verdicts and lengths, so that texts are read once for both.
"""

import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq

_MIXES = {"long": 1.0, "short": 0.0, "mix-long": 0.2, "half": 0.5}
"The share of long traces in each."
_SEED = 42
# More processes than one each get a copy of what is looked up.
_N_PROCESSES = 2
_OF_PROBLEM = ("problem", "reference", "source", "license", "subject", "level")

Batch = dict[str, list[Any]]


def run(folder: Path) -> float:
    """Writes four mixes to `mixes-datasets/`; returns the seconds that it took."""
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        started = time.monotonic()
        files = sorted(str(path) for path in (folder / "traces").glob("*.jsonl"))
        traces = datasets.load_dataset(
            "json", data_files=files, split="train", cache_dir=cache, num_proc=min(_N_PROCESSES, len(files))
        )
        verdicts = pq.read_table(folder / "verdicts.parquet").to_pydict()
        judged = zip(verdicts["status"], verdicts["answer"], strict=True)
        by_trace = dict(zip(verdicts["trace_id"], judged, strict=True))
        traces = traces.map(
            _judge, batched=True, input_columns=["trace_id", "reasoning", "response"],
            fn_kwargs={"by_trace": by_trace},
        )  # fmt: skip
        _stats(traces)
        right = traces.filter(
            _is_right, batched=True, input_columns=["status", "finish_reason"], num_proc=_N_PROCESSES
        )
        _write_mixes(right, folder)
        return time.monotonic() - started


def _judge(
    ids: list[str], reasoning: list[str | None], response: list[str], by_trace: Mapping[str, tuple[str, str]]
) -> Batch:
    reasoning_chars = [len(text or "") for text in reasoning]
    return {
        "status": [by_trace[name][0] for name in ids],
        "answer": [by_trace[name][1] for name in ids],
        "reasoning_chars": reasoning_chars,
        "chars": [n + len(text) for n, text in zip(reasoning_chars, response, strict=True)],
    }


def _is_right(statuses: list[str], reasons: list[str]) -> list[bool]:
    return [status == "correct" and reason != "length" for status, reason in zip(statuses, reasons, strict=True)]


def _stats(traces: Any) -> dict[str, dict[str, float]]:
    """Pass rate and lengths of each teacher."""
    columns = {
        name: np.array(traces.with_format("numpy")[name])
        for name in ("teacher", "status", "chars", "reasoning_chars")
    }
    told = {}
    for teacher in np.unique(columns["teacher"]):
        mine = columns["teacher"] == teacher
        chars = columns["chars"][mine]
        told[str(teacher)] = {
            "pass_rate": float((columns["status"][mine] == "correct").mean()),
            **{f"p{q}": float(np.percentile(chars, q)) for q in (50, 90, 99)},
            "reasoning_share": float(columns["reasoning_chars"][mine].sum() / chars.sum()),
        }
    return told


def _write_mixes(right: Any, folder: Path) -> None:
    draw = random.Random(_SEED)
    suspects = set(pq.read_table(folder / "references.suspect.parquet")["problem_id"].to_pylist())
    rows: dict[str, dict[str, list[int]]] = {"long": defaultdict(list), "short": defaultdict(list)}
    for number, (teacher, problem) in enumerate(zip(right["teacher"], right["problem_id"], strict=True)):
        rows[teacher][problem].append(number)
    shared = sorted((rows["long"].keys() & rows["short"].keys()) - suspects)
    one = {teacher: {name: draw.choice(mine[name]) for name in shared} for teacher, mine in rows.items()}
    table = pq.read_table(folder / "problems.parquet", columns=["problem_id", *_OF_PROBLEM])
    by_problem = {row.pop("problem_id"): row for row in table.to_pylist()}
    draw.shuffle(shared)
    for mix, share in _MIXES.items():
        n_long = round(share * len(shared))
        parts = [
            right.select([one[part][name] for name in names])
            for part, names in (("long", shared[:n_long]), ("short", shared[n_long:]))
            if names
        ]
        mixed = datasets.concatenate_datasets(parts).shuffle(seed=_SEED)
        mixed = mixed.map(
            _to_rows, batched=True, remove_columns=mixed.column_names, fn_kwargs={"by_problem": by_problem}
        )
        mixed.to_parquet(str(folder / "mixes-datasets" / f"{mix}.parquet"))


def _to_rows(batch: Batch, by_problem: Mapping[str, Mapping[str, str]]) -> Batch:
    problems = [by_problem[name] for name in batch["problem_id"]]
    prompts = [[{"role": "user", "content": problem["problem"]}] for problem in problems]
    completions = []
    for reasoning, response in zip(batch["reasoning"], batch["response"], strict=True):
        content = f"<think>\n{reasoning}\n</think>\n\n{response}" if reasoning else response
        completions.append([{"role": "assistant", "content": content}])
    return {
        "prompt": prompts,
        "completion": completions,
        "messages": [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)],
        **{name: [problem[name] for problem in problems] for name in _OF_PROBLEM},
        "part": batch["teacher"],
        **{
            name: batch[name]
            for name in ("problem_id", "trace_id", "teacher", "model", "style", "answer", "completion_tokens")
        },
        "completion_chars": [len(each[0]["content"]) for each in completions],
    }
