"""The text of the dataset card: the YAML head that the Hub reads, the body that people read.

In: the recipe, and what the stages wrote (problems, stats.json, mix.json, manifest.json). Out: the text of
README.md. The body is `card.md` with named slots; no path or address of this machine gets into it. Writing the
dataset folder is `cards.dataset`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import mixdistill
from mixdistill.cards.licences import Licence, resulting_licence
from mixdistill.files import read_parquet
from mixdistill.recipe import Recipe
from mixdistill.run import Run
from mixdistill.tables import (
    MixNumbers,
    Stats,
    TeacherStats,
    read_mix,
    read_stats,
    read_suspects,
    read_verdicts,
)
from mixdistill.teachers import DatasetTeacher, SampledTeacher, Teacher, without_folders
from mixdistill.yaml_file import dump_yaml

if TYPE_CHECKING:
    import datasets
    import polars

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
          (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))  # fmt: skip
_SHOWN_CHARS = 1_500
_SLOT = re.compile(r"\[\[(\w+)\]\]")


class Config(NamedTuple):
    """One config of the dataset."""

    name: str
    path: str
    "Of its Parquet file, inside the dataset folder."
    rows: int
    bytes: int
    "Of its Parquet file."
    arrow_bytes: int
    "Of its rows in memory."
    features: "datasets.Features"


def make_card(recipe: Recipe, run: Run, configs: Sequence[Config]) -> str:
    """The text of README.md: the YAML head and the body."""
    stats = read_stats(run)
    problems = read_parquet(run.problems, "problems")
    licence = resulting_licence(
        list(problems.select("source", "license").unique().sort("source", "license").iter_rows()),
        recipe.publish.license if recipe.publish else "auto",
    )
    slots = _slots(recipe, run, stats, configs, problems, licence)
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    body = _SLOT.sub(lambda slot: slots[slot.group(1)], template)  # in one pass: no slot inside a slot's text
    return f"---\n{_head(recipe, configs, licence)}---\n\n{body}"


def main_mix(recipe: Recipe) -> str:
    """The mix that is loaded if none is named: the first that really mixes, else the first."""
    return next((name for name in recipe.mixes if len(recipe.parts(name)) > 1), next(iter(recipe.mixes)))


def _head(recipe: Recipe, configs: Sequence[Config], licence: Licence) -> str:
    """The YAML head, as the Hub and `load_dataset` read it."""
    import datasets
    import huggingface_hub

    head: dict[str, object] = {
        "pretty_name": recipe.name,
        "language": [recipe.language],
        **({"license": licence.identifier} if licence.identifier else {}),
        "task_categories": ["text-generation"],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "size_categories": [_size_category(max(config.rows for config in configs))],
        "tags": ["mixdistill", "synthetic", "reasoning", "chain-of-thought", "distillation", "math"],
        "configs": [
            {
                "config_name": config.name,
                **({"default": True} if config.name == main_mix(recipe) else {}),
                "data_files": [{"split": "train", "path": config.path}],
            }
            for config in configs
        ],
    }
    infos = datasets.info.DatasetInfosDict({
        config.name: datasets.DatasetInfo(
            config_name=config.name,
            features=config.features,
            splits=datasets.SplitDict({"train": datasets.SplitInfo("train", config.arrow_bytes, config.rows)}),
            download_size=config.bytes,
            dataset_size=config.arrow_bytes,
        )
        for config in configs
    })  # fmt: skip
    card = huggingface_hub.DatasetCardData(ignore_metadata_errors=False)
    infos.to_dataset_card_data(card)
    head["dataset_info"] = cast("dict[str, object]", vars(card))["dataset_info"]
    return dump_yaml(head)


def _size_category(rows: int) -> str:
    return next((name for limit, name in _SIZES if rows < limit), "n>100M")


def _slots(
    recipe: Recipe, run: Run, stats: Stats, configs: Sequence[Config], problems: "polars.DataFrame",
    licence: Licence,
) -> dict[str, str]:  # fmt: skip
    mixes = [read_mix(run, name) for name in recipe.mixes]
    return {
        "title": recipe.name,
        "purpose": _purpose(recipe, stats),
        "mix_rows": _mix_table(mixes),
        "repo": recipe.publish.repo if recipe.publish else "path/to/dataset",
        "main_mix": main_mix(recipe),
        "match": _match_note(recipe, mixes),
        "examples": _examples(run, main_mix(recipe)),
        "funnel": _funnel(run, stats, mixes),
        "version": mixdistill.__version__,
        "teacher_rows": _teacher_table(recipe, stats),
        "pass_rate_rows": _pass_rate_table(stats["teachers"]),
        "length_note": _length_note(recipe, stats["teachers"]),
        "length_rows": _length_table(stats["teachers"]),
        "judge_note": _judge_note(recipe, run),
        "suspects_note": _suspects_note(recipe, run),
        "left_out_rows": _left_out_table(run, stats, mixes),
        "contamination_note": _contamination_note(recipe, run),
        "source_rows": _source_table(problems),
        "licence_note": _plain(licence.note),
        "recipe": _fenced(dump_yaml(recipe.public()), "yaml"),
    }


def _purpose(recipe: Recipe, stats: Stats) -> str:
    styles = " and ".join(sorted({teacher["style"] for teacher in stats["teachers"]}))
    return (
        f"{_counted(stats['problems'], 'problem')} with {styles} chains of thought by "
        f"{_counted(len(stats['teachers']), 'teacher')}, judged against known answers and mixed in exact ratios, "
        "for training small language models."
    )


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _mix_table(mixes: Sequence[MixNumbers]) -> str:
    rows = []
    for mix in mixes:
        shares = ", ".join(
            f"{share:.3g} {_code(part)} ({_counted(mix['rows_by_part'][part], 'row')}{_of_tokens(mix, part)})"
            for part, share in mix["shares"].items()
        )
        tokens = mix["completion_tokens"]
        counted = f"{tokens['sum']:,}" if tokens["n"] else "not counted"
        if 0 < tokens["n"] < mix["rows"]:
            counted += f" in {_counted(tokens['n'], 'row')}"
        rows.append([
            _code(mix["mix"]), shares, f"{mix['rows']:,}", f"{mix['problems']:,}", counted,
            f"{mix['completion_chars']:,}",
        ])  # fmt: skip
    return _table(["mix", "shares", "rows", "problems", "tokens", "characters"], rows, numbers=4)


def _of_tokens(mix: MixNumbers, part: str) -> str:
    """The share of the tokens that a part has, where they were counted and it has not all of them."""
    share = mix["shares_of_tokens"].get(part, 1.0)
    return f", {share:.3g} of the tokens" if share < 1 else ""


_MATCHES = {
    "problems": "hold the same problems in the same order",
    "tokens": "hold as many tokens, from the same problems as far as they go",
    "steps": "hold as many rows, each from the problems that its own teachers got right",
}


def _match_note(recipe: Recipe, mixes: Sequence[MixNumbers]) -> str:
    mixing = recipe.mixing
    if mixing.match == "none":
        told = "The mixes may hold different problems: each is drawn from those that its own teachers got right."
    else:
        how = _MATCHES[mixing.match]
        if mixing.match == "problems" and mixing.order != "shuffled":
            how = "hold the same problems"
        contrasts = {tuple(mix["contrast"]) for mix in mixes if len(mix["contrast"]) > 1}
        named = "; ".join(", ".join(f"`{name}`" for name in contrast) for contrast in sorted(contrasts))
        told = f"These mixes {how}: {named}." if named else ""
    return " ".join([told, *_mixing_notes(recipe)]).strip()


def _mixing_notes(recipe: Recipe) -> list[str]:
    """What else a reader must know of how rows were chosen, where the recipe says so."""
    mixing = recipe.mixing
    notes = []
    if mixing.by == "tokens":
        notes.append("Ratios are over tokens, not rows.")
    if mixing.per_problem > 1:
        notes.append(f"A problem has up to {mixing.per_problem} traces in a mix.")
    if mixing.select != "random":
        how = f"that suits the student best (by {mixing.scoring.metric})" if mixing.select == "student" else ""
        chosen = (
            how
            or {"first": "drawn first", "shortest": "that is shortest", "longest": "that is longest"}[
                mixing.select
            ]
        )
        notes.append(f"Of several right traces the one {chosen} was taken.")
    if mixing.order != "shuffled":
        notes.append(f"Rows stand in order of length, {mixing.order.removesuffix('_first')} ones first.")
    low, high = mixing.difficulty.keep
    if (low, high) != (0, 1):
        notes.append(f"Only problems with a pass rate from {low:g} to {high:g} were taken.")
    banded = {band for name in recipe.mixes for band in recipe.shares(name) if band}
    if banded:
        ranges = "; ".join(f"{band}: {mixing.difficulty.bands[band][0]:g} to {mixing.difficulty.bands[band][1]:g}"
                           for band in sorted(banded))  # fmt: skip
        notes.append(f"Ratios depend on the pass rate of the problem ({ranges}).")
    return notes


def _examples(run: Run, mix: str) -> str:
    """The shortest row of each part of the mix, in the order of the recipe."""
    frame = read_parquet(run.mixes / mix / "train.parquet", "mix").sort("completion_chars", "problem_id")
    shortest = {row["part"]: row for row in frame.unique("part", keep="first").iter_rows(named=True)}
    shown = []
    for part in read_mix(run, mix)["rows_by_part"]:
        row = shortest.get(part)
        if row is None:
            continue
        text = "\n\n".join(text for key, text in row["completion"][0].items() if key != "role" and text)
        cut = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]} [...]"
        shown.append(
            f"**Part {_code(part)}**: {row['style']}, by {_code(row['teacher'])}; the reference is "
            f"{_code(row['reference'])}.\n\n{_fenced(row['problem'], 'text')}\n\n{_fenced(cut, 'text')}"
        )
    return "\n\n".join(shown)


def _funnel(run: Run, stats: Stats, mixes: Sequence[MixNumbers]) -> str:
    correct = sum(teacher["right"] for teacher in stats["teachers"])
    largest = max(mixes, key=lambda mix: mix["rows"])
    return (
        f"{_counted(stats['problems'], 'problem')} -> {_counted(stats['traces'], 'trace')} -> {correct:,} judged "
        f"correct -> {_counted(largest['rows'], 'row')} in "
        + ("each mix." if len({mix["rows"] for mix in mixes}) == 1 else "the largest mix.")
    )


def _teacher_table(recipe: Recipe, stats: Stats) -> str:
    rows = [
        [_code(numbers["teacher"]), _code(numbers["model"]), numbers["style"], numbers["size"] or "",
         _asked(recipe.teachers.get(numbers["teacher"]))]
        for numbers in stats["teachers"]
    ]  # fmt: skip
    return _table(["teacher", "model", "style", "size", "how it was asked"], rows)


def _asked(teacher: Teacher | None) -> str:
    if teacher is None or isinstance(teacher, DatasetTeacher):
        return "traces that existed already"
    examples = len(teacher.prompt.examples)
    return (
        f"{_samples(teacher)} a problem, temperature {_setting(teacher.temperature)}, top-p "
        f"{_setting(teacher.top_p)}, at most {_counted(teacher.max_tokens, 'token')}"
        + (f", {_counted(examples, 'worked example')}" if examples else "")
    )


def _setting(value: float | None) -> str:
    return "the server's own" if value is None else f"{value:g}"


def _samples(teacher: SampledTeacher) -> str:
    if isinstance(teacher.samples, int):
        return _counted(teacher.samples, "sample")
    right, most = teacher.samples.until_correct, _counted(teacher.samples.at_most, "sample")
    return f"until {right} right, at most {most}"


def _pass_rate_table(teachers: Sequence[TeacherStats]) -> str:
    rows = [
        [_code(teacher["teacher"]), teacher["style"], f"{teacher['judged']:,}", f"{teacher['correct']:,}",
         _rate(teacher["pass_rate"]), _interval(teacher), _rate(teacher["truncated_rate"], "not known")]
        for teacher in teachers
    ]  # fmt: skip
    heads = ["teacher", "style", "judged", "correct", "pass rate", "95% interval", "cut by limit"]
    return _table(heads, rows, numbers=5)


def _interval(teacher: TeacherStats) -> str:
    if teacher["pass_rate"] is None:
        return ""
    return f"{_rate(teacher['pass_rate_low'])} to {_rate(teacher['pass_rate_high'])}"


def _length_note(recipe: Recipe, teachers: Sequence[TeacherStats]) -> str:
    """By what lengths were counted, and what to do where they were not."""
    tokenizer = recipe.stats.tokenizer
    if tokenizer is not None:
        name = Path(tokenizer).name if tokenizer.endswith(".json") else tokenizer
        return f"Tokens of reasoning and response, counted by the tokenizer {_code(name)}."
    way_out = "set `stats.tokenizer` in the recipe to have them counted by the tokenizer of a model"
    counted = sum(bool(teacher["tokens"]["n"]) for teacher in teachers)
    if not counted:
        return f"Nobody counted tokens, so lengths are in characters; {way_out}."
    note = "Tokens of reasoning and response, by the teacher's own count"
    return f"{note}." if counted == len(teachers) else f"{note}; characters where it gave none ({way_out})."


def _length_table(teachers: Sequence[TeacherStats]) -> str:
    rows = []
    for teacher in teachers:
        unit = "tokens" if teacher["tokens"]["n"] else "characters"
        lengths = teacher["tokens"] if unit == "tokens" else teacher["chars"]
        quantiles = [f"{lengths[q]:,.0f}" if lengths[q] is not None else "" for q in ("p50", "p90", "p99")]
        rows.append([_code(teacher["teacher"]), unit, *quantiles, _rate(teacher["reasoning_share"])])
    return _table(["teacher", "unit", "p50", "p90", "p99", "reasoning"], rows, numbers=4)


def _left_out_table(run: Run, stats: Stats, mixes: Sequence[MixNumbers]) -> str:
    """Every loss on the way, with its reason; mixes that lost the same stand in one row."""
    rows: list[list[str]] = []
    stages = run.stages()
    for stage, what in (("problems", "rows of the problem sources"), ("generate", "rows of existing traces")):
        counts = cast("dict[str, int]", stages.get(stage, {}).get("counts", {}))
        for name, n in counts.items():
            for prefix in ("dropped_", "left_out_"):
                if name.startswith(prefix) and n:
                    rows.append([what, name.removeprefix(prefix).replace("_", " "), f"{n:,}"])
    for teacher in stats["teachers"]:
        losses = {"the request failed": teacher["failed"], **teacher["statuses"]}
        for reason, n in losses.items():
            if reason != "correct" and n:
                rows.append([f"traces by {_code(teacher['teacher'])}", reason.replace("_", " "), f"{n:,}"])
    losers: dict[tuple[str, int], list[str]] = {}
    for mix in mixes:
        for reason, n in mix["problems_left_out"].items():
            losers.setdefault((reason, n), []).append(_code(mix["mix"]))
    for (reason, n), names in losers.items():
        rows.append([f"problems, from {', '.join(names)}", _plain(reason), f"{n:,}"])
    return _table(["what", "why", "how many"], rows, numbers=1) if rows else "Nothing."


_SUSPECT_KINDS = {
    "teachers_agree": "two teachers or more agree on another answer",
    "unreadable": "the verifier cannot read it",
    "solution_disagrees": "its own solution ends in another answer",
}


def _suspects_note(recipe: Recipe, run: Run) -> str:
    """How many references look wrong, why, and what became of their problems."""
    suspects = read_suspects(run)
    if not suspects.height:
        return "No reference looks wrong."
    problems = suspects["problem_id"].n_unique()
    counts = dict(suspects["kind"].value_counts().iter_rows())
    why = ", ".join(f"{counts[kind]:,} where {what}" for kind, what in _SUSPECT_KINDS.items() if kind in counts)
    left_out = recipe.mixing.suspect_references == "leave_out"
    fate = "No mix holds any of these problems." if left_out else "The mixes may hold these problems all the same."
    return (
        f"The references of {_counted(problems, 'problem')} look wrong: {why}. The config `suspects` lists them "
        f"with the evidence. {fate}"
    )


def _contamination_note(recipe: Recipe, run: Run) -> str:
    """Which benchmarks the problems were held against, and how many went."""
    benchmarks = recipe.decontaminate.against
    if not benchmarks:
        return "The problems were not held against any benchmark: do not evaluate on one without looking."
    counts = run.outcomes().get("problems", {})
    named = ", ".join(_code(benchmark.title) for benchmark in benchmarks)
    dropped = _counted(counts.get("dropped_contaminated", 0), "problem")
    return (
        f"The problems were held against {named}: exact after normalisation, shared runs of "
        f"{recipe.decontaminate.ngram} words, likeness, and the same but for numbers. {dropped} went for that. "
        "What shares neither words nor formulas with a benchmark, such as a free paraphrase, is not found."
    )


def _judge_note(recipe: Recipe, run: Run) -> str:
    """How many undecided answers a model spoke about, and that its word counts for nothing."""
    counts = Counter(read_verdicts(run)["judge_status"].drop_nulls())
    if recipe.verify.judge is None or not counts:
        return ""
    said = ", ".join(f"{status} {n:,}" for status, n in sorted(counts.items()))
    name = without_folders(recipe.verify.judge.model)
    return (
        f"{_counted(counts.total(), 'answer')} that the verifier could not decide went to a judge, "
        f"{_code(name)} ({said}). What it said stands in the columns `judge_status` and "
        "`judge_reason` of `traces`; no mix and no pass rate counts it."
    )


def _source_table(problems: "polars.DataFrame") -> str:
    grouped = problems.group_by("source", "license").len().sort("source", "license")
    rows = [
        [_plain(str(source)), _plain(licence or "unknown"), f"{n:,}"] for source, licence, n in grouped.iter_rows()
    ]
    return _table(["source", "licence", "problems"], rows, numbers=1)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> str:
    """A Markdown table whose last `numbers` columns stand to the right. Free text comes as _plain or _code."""
    rule = ["---"] * (len(heads) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, rule, *rows])


def _rate(rate: float | None, unknown: str = "") -> str:
    return unknown if rate is None else f"{rate:.1%}"


def _plain(text: str) -> str:
    """Free text in one line, with all that Markdown or HTML would read as more than text as entities."""
    return re.sub(r"[\\`*\[\]<>&|]", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def _code(text: str) -> str:
    """A name in code type; as plain text where it holds what would end the code or the cell of a table."""
    line = " ".join(text.split())
    return f"`{line}`" if line and not re.search(r"[`|]", line) else _plain(line)


def _fenced(text: str, language: str) -> str:
    """A code block that no run of backticks in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
