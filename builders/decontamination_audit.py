"""Measures decontamination: altered copies of benchmark problems are put among the recipe's, and looked for again.

In: a recipe. Out: for each way of altering how many copies were found, and how many problems were found that have
nothing to do with the benchmarks: those of other benchmarks, each held against all but its own, and procedural
ones of reasoning-gym. The very screen of `mixdistill problems` is asked. Writes nothing.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mixdistill.builders.alterations import ALTERATIONS
from mixdistill.builders.benchmarks import BenchmarkProblem, read_benchmarks
from mixdistill.builders.decontaminate import Decontamination
from mixdistill.builders.problems import load_problems
from mixdistill.builders.stats import wilson
from mixdistill.decontamination import Decontaminate
from mixdistill.errors import MissingExtraError, RecipeError
from mixdistill.recipe import ProblemSource, Procedural, Recipe
from mixdistill.records import BenchmarkHit, Problem, draw_seed
from mixdistill.run import Progress

# Generators whose problems are texts, as those of benchmarks are, and share no template with any of them.
_GENERATORS = (
    "aiw", "basic_arithmetic", "calendar_arithmetic", "chain_sum", "coin_flip", "count_primes",
    "dice", "family_relationships", "fraction_simplification", "gcd", "gsm_symbolic", "lcm", "leg_counting",
    "number_sequence", "prime_factorization", "products", "simple_equations",
    "simple_geometry", "simple_integration", "syllogism", "time_intervals",
)  # fmt: skip
_OF_EACH_GENERATOR = 50
_STEP = 256
_EXAMPLES = 3
_EXAMPLE_CHARS = 300


class Finding(NamedTuple):
    """How many of some problems were found."""

    kind: str
    "How copies were altered, or where unrelated problems are from."
    n: int
    "Problems that were put in."
    found: int
    "Copies with the problem that they are made from as evidence; unrelated ones that were found at all."
    rate: float | None
    "Recall of copies, false positive rate of unrelated problems; None for n = 0."
    low: float | None
    high: float | None
    "Wilson interval, 95%."
    by_test: dict[str, int]
    "For those that were found, the test that found it."
    examples: list[str]
    "Up to three copies that were missed, or unrelated problems that were found."


class Audit(NamedTuple):
    """What decontamination finds, and what it should not."""

    problems: int
    "Problems of the recipe, before any is dropped."
    benchmark_problems: int
    contaminated: int
    "Those of the recipe's problems that stand in a benchmark."
    recall: list[Finding]
    "One for each way of altering."
    false_positives: list[Finding]
    "One for each benchmark where there are several, and one for the generators where reasoning-gym is installed."


class _Copy(NamedTuple):
    kind: str
    of: BenchmarkProblem
    problem: Problem


def audit_decontamination(recipe: Recipe, progress: Progress) -> Audit:
    """What is found of copies that are put in, and what is flagged that is unrelated.

    Raises RecipeError if the recipe names no benchmark, and what reading problems and benchmarks raises.
    """
    settings = recipe.decontaminate
    if not settings.against:
        raise RecipeError("decontaminate.against names no benchmark; try --set 'decontaminate.against=[gsm8k]'")
    benchmarks = read_benchmarks(settings.against)
    own = load_problems(recipe.problems, seed=recipe.seed, limit=recipe.limit).kept
    copies = {copy.problem.problem_id: copy for copy in _copies(benchmarks, recipe.seed)}
    among = [*own, *(copy.problem for copy in copies.values())]
    random.Random(draw_seed(recipe.seed, "audit", "places")).shuffle(among)
    hits = _screen(among, benchmarks, settings, progress)
    return Audit(
        problems=len(own),
        benchmark_problems=len(benchmarks),
        contaminated=sum(problem.problem_id in hits for problem in own),
        recall=[_recall(kind, copies.values(), hits) for kind in ALTERATIONS],
        false_positives=[
            *_of_other_benchmarks(benchmarks, settings),
            *_of_generators(benchmarks, settings, recipe.seed),
        ],
    )


def audit_rows(findings: Iterable[Finding]) -> list[list[str]]:
    """The findings as cells of a table: kind, n, found, rate, interval, tests."""
    return [
        [
            finding.kind,
            f"{finding.n:,}",
            f"{finding.found:,}",
            _percent(finding.rate),
            f"{_percent(finding.low)} to {_percent(finding.high)}",
            ", ".join(f"{test} {n:,}" for test, n in finding.by_test.items()) or "-",
        ]
        for finding in findings
    ]


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"


def _copies(benchmarks: Sequence[BenchmarkProblem], seed: int) -> Iterable[_Copy]:
    """Each benchmark problem once in each way that changes it."""
    for kind, alter in ALTERATIONS.items():
        for n, of in enumerate(benchmarks):
            text = alter(of.text, random.Random(draw_seed(seed, "audit", kind, n)))
            if text is not None:
                yield _Copy(kind, of, _problem(f"copy-{kind}-{n}", text))


def _problem(identity: str, text: str) -> Problem:
    return Problem(problem_id=identity, problem=text, reference="", source="audit")


def _screen(
    problems: Sequence[Problem],
    benchmarks: Sequence[BenchmarkProblem],
    settings: Decontaminate,
    progress: Progress | None = None,
) -> dict[str, list[BenchmarkHit]]:
    """The hits of each problem that is contaminated, by its id."""
    screen = Decontamination(settings, benchmarks)
    for done, problem in enumerate(problems):
        screen(problem, problem.problem_id)
        if progress is not None and done % _STEP == 0:
            progress(done, len(problems), "")
    hits: dict[str, list[BenchmarkHit]] = defaultdict(list)
    for hit in screen.hits:
        hits[hit.problem_id].append(hit)
    return hits


def _recall(kind: str, copies: Iterable[_Copy], hits: Mapping[str, Sequence[BenchmarkHit]]) -> Finding:
    """Of the copies of one kind those that were found, with the problem that they are made from as evidence."""
    of_kind = [copy for copy in copies if copy.kind == kind]
    tests: list[str] = []
    missed: list[str] = []
    for copy in of_kind:
        evidence = (hit for hit in hits.get(copy.problem.problem_id, ()) if hit.item_problem == copy.of.text)
        found = next(evidence, None)
        if found is None:
            missed.append(f"{copy.of.benchmark} {copy.of.item}: {copy.problem.problem}")
        else:
            tests.append(found.kind)
    return _finding(kind, len(of_kind), tests, missed)


def _of_other_benchmarks(benchmarks: Sequence[BenchmarkProblem], settings: Decontaminate) -> list[Finding]:
    """The problems of each benchmark, held against all others."""
    titles = dict.fromkeys(problem.benchmark for problem in benchmarks)
    return [
        _flagged(
            title,
            [_problem(f"other-{n}", of.text) for n, of in enumerate(benchmarks) if of.benchmark == title],
            [problem for problem in benchmarks if problem.benchmark != title],
            settings,
        )
        for title in titles
        if len(titles) > 1
    ]


def _of_generators(benchmarks: Sequence[BenchmarkProblem], settings: Decontaminate, seed: int) -> list[Finding]:
    """Procedural problems, held against all benchmarks; none where reasoning-gym is not installed."""
    sources = [
        ProblemSource(generate=Procedural(reasoning_gym=name, size=_OF_EACH_GENERATOR)) for name in _GENERATORS
    ]
    try:
        made = load_problems(sources, seed=seed).kept
    except MissingExtraError:
        return []
    return [_flagged("reasoning-gym", made, benchmarks, settings)]


def _flagged(
    kind: str, problems: Sequence[Problem], benchmarks: Sequence[BenchmarkProblem], settings: Decontaminate
) -> Finding:
    hits = _screen(problems, benchmarks, settings)
    firsts = [found[0] for found in hits.values()]
    examples = [f"{hit.problem} | {hit.benchmark} {hit.item}: {hit.item_problem}" for hit in firsts]
    return _finding(kind, len(problems), [hit.kind for hit in firsts], examples)


def _finding(kind: str, n: int, tests: Sequence[str], examples: Sequence[str]) -> Finding:
    interval = wilson(len(tests), n)
    shown = [" ".join(example.split())[:_EXAMPLE_CHARS] for example in examples[:_EXAMPLES]]
    return Finding(
        kind, n, len(tests), interval.rate, interval.low, interval.high, dict(Counter(tests).most_common()), shown
    )
