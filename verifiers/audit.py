"""The reference audit: which references look wrong, and what speaks against each.

In: problems, traces and verdicts of a run. Out: `references.suspect.parquet`, one row a problem and kind of
evidence: `teachers_agree` (two teachers or more mostly give the same other answer, and none ever gives the
reference), `unreadable` (the verifier cannot read it), `solution_disagrees` (its own
worked solution ends in another answer). All equality is the verifier's, within its limits. A suspect is no
verdict: no trace's status changes by it. Programs are no answers that could be compared, so of `code` only an
unusable reference is told.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import combinations, islice
from typing import NamedTuple

from mixdistill.files import write_parquet
from mixdistill.recipe import Recipe
from mixdistill.records import AnswerType, Problem, Suspect, SuspectKind, to_frame
from mixdistill.run import Run
from mixdistill.tables import read_problems, read_traces, read_verdicts
from mixdistill.verifiers.verify import Case, Judgement, verify_many

# What a reference is compared with to see whether it can be read: an answer that is always readable. Compared
# with itself it would be equal as text, read or not.
_PROBES: Mapping[AnswerType, str] = {"math": "0", "number": "0", "choice": "A", "text": "0"}
# Different answers of a problem that are compared each with each: the most common ones.
_MOST_ANSWERS = 8
# What stands in a reason where the reference is to blame: not a worker that died, nor algebra without an end.
_BLAMED = ("; grading: ", "; the reference ")
# Marks that a solution's author sets on its final answer and nothing else.
_SOLUTION_RULES = frozenset({"boxed", "hashes"})
_SHOWN_CHARACTERS = 80


def audit_references(recipe: Recipe, run: Run) -> dict[str, int]:
    """Writes references.suspect.parquet; returns the count `reference_suspect`, of problems, if there are any."""
    problems = {problem.problem_id: problem for problem in read_problems(run, recipe.limit)}
    answers = _answers(run, problems)
    wrong, probed = _wrong(problems, answers), [p for p in problems.values() if p.answer_type in _PROBES]
    pairs, solved = _pairs(problems, wrong), [problem for problem in probed if problem.solution]
    comparisons = [
        *(_case(problems[pair.problem_id], pair.first, pair.second) for pair in pairs),
        *(_case(problem, problem.reference, _PROBES[problem.answer_type]) for problem in probed),
        *(_ending(problem) for problem in solved),
    ]
    judged = _verify(recipe, comparisons)  # in one go: each needs worker processes
    equal = _equal(pairs, judged)
    suspects = [
        *_teachers_agree(problems, answers, wrong, equal),
        *_unreadable(problems, answers, probed, judged),
        *_solution_disagrees(solved, judged),
    ]
    place = {problem: number for number, problem in enumerate(problems)}
    suspects.sort(key=lambda suspect: (place[suspect.problem_id], suspect.kind))
    write_parquet(run.suspects, to_frame(Suspect, suspects))
    n_problems = len({suspect.problem_id for suspect in suspects})
    return {"reference_suspect": n_problems} if n_problems else {}


class _Said(NamedTuple):
    """What one teacher says to one problem, over all its samples."""

    n: int
    "Samples that were judged."
    correct: int
    others: Counter[str]
    "Answers that are not the reference, by how many samples give them."
    unscored: int
    fault: str | None
    "Why the reference was of no use, if a verdict says so."

    def favourites(self) -> list[str]:
        """The answers that it gives most often."""
        most = max(self.others.values(), default=0)
        return [answer for answer, n in self.others.items() if n == most]


_Answers = Mapping[str, Mapping[str, _Said]]
"By problem id, then by teacher."


def _answers(run: Run, problems: Mapping[str, Problem]) -> _Answers:
    verdicts = read_verdicts(run).select("trace_id", "status", "answer", "reason")
    judged = read_traces(run).join(verdicts, on="trace_id", how="inner", maintain_order="left")
    rows = judged.select("problem_id", "teacher", "status", "answer", "reason").iter_rows()
    by_teacher: dict[str, dict[str, list[_Verdict]]] = defaultdict(lambda: defaultdict(list))
    for problem, teacher, *verdict in rows:
        if problem in problems:
            by_teacher[problem][teacher].append(_Verdict(*verdict))
    return {
        problem: {teacher: _said(verdicts) for teacher, verdicts in teachers.items()}
        for problem, teachers in by_teacher.items()
    }


class _Verdict(NamedTuple):
    status: str
    answer: str | None
    reason: str


def _said(verdicts: Sequence[_Verdict]) -> _Said:
    statuses = Counter(verdict.status for verdict in verdicts)
    answers = (verdict.answer for verdict in verdicts if verdict.status == "incorrect")
    others = Counter(" ".join(answer.split()) for answer in answers if answer and answer.strip())
    faults = (_fault(verdict.reason) for verdict in verdicts if verdict.status == "unscored")
    fault = next((fault for fault in faults if fault), None)
    return _Said(len(verdicts), statuses["correct"], others, statuses["unscored"], fault)


def _wrong(problems: Mapping[str, Problem], answers: _Answers) -> dict[str, dict[str, _Said]]:
    """The teachers that answer, of the problems where there are at least two and none ever says the reference."""
    wrong = {}
    for problem, teachers in answers.items():
        mine = {teacher: said for teacher, said in teachers.items() if said.others}
        is_found = any(said.correct for said in teachers.values())  # one who finds it clears it
        if len(mine) >= 2 and not is_found and problems[problem].answer_type != "code":
            wrong[problem] = mine
    return wrong


class _Pair(NamedTuple):
    problem_id: str
    first: str
    second: str


def _pairs(problems: Mapping[str, Problem], wrong: Mapping[str, Mapping[str, _Said]]) -> list[_Pair]:
    """The differently written answers that are to be compared; a scorer of its own compares no two answers."""
    return [
        _Pair(problem, first, second)
        for problem, teachers in wrong.items()
        if problems[problem].answer_type != "reasoning_gym"
        for first, second in combinations(_most_common(teachers.values()), 2)
    ]


def _equal(pairs: Sequence[_Pair], judged: Iterator[Judgement]) -> set[_Pair]:
    found = zip(pairs, islice(judged, len(pairs)), strict=True)
    return {pair for pair, judgement in found if judgement.status == "correct"}


def _teachers_agree(
    problems: Mapping[str, Problem], answers: _Answers, wrong: Mapping[str, Mapping[str, _Said]],
    equal: Set[_Pair],
) -> Iterator[Suspect]:  # fmt: skip
    """References against which two teachers or more agree."""
    for problem, teachers in wrong.items():
        for group in _groups(problem, teachers, equal):
            agreeing = {
                teacher: sum(said.others[answer] for answer in group)
                for teacher, said in teachers.items()
                if group & set(said.favourites())
            }
            if len(agreeing) >= 2:
                yield _agreement(problems[problem], teachers, group, agreeing, answers[problem])
                break  # the most common one


def _most_common(teachers: Iterable[_Said]) -> list[str]:
    """The different answers of a problem that some teacher gives most often, the most common first."""
    counts: Counter[str] = Counter()
    for said in teachers:
        counts.update({answer: said.others[answer] for answer in said.favourites()})
    ordered = sorted(counts, key=lambda answer: (-counts[answer], answer))
    return ordered[:_MOST_ANSWERS]


def _groups(problem: str, teachers: Mapping[str, _Said], equal: Set[_Pair]) -> list[set[str]]:
    """The favourite answers in groups of equal ones, the most common first."""
    groups: list[set[str]] = []
    for answer in _most_common(teachers.values()):
        home = next(
            (group for group in groups if any(_Pair(problem, other, answer) in equal for other in group)), None
        )
        if home is None:
            groups.append({answer})
        else:
            home.add(answer)
    return groups


def _agreement(
    problem: Problem, teachers: Mapping[str, _Said], group: set[str], agreeing: Mapping[str, int],
    everybody: Mapping[str, _Said],
) -> Suspect:  # fmt: skip
    answer = next(answer for answer in _most_common(teachers.values()) if answer in group)
    told = ", ".join(f"{teacher} in {n} of {teachers[teacher].n}" for teacher, n in sorted(agreeing.items()))
    evidence = (
        f"{len(agreeing)} of {len(everybody)} teachers say {_short(answer)} ({told} samples); "
        "none says the reference"
    )
    return _suspect(problem, "teachers_agree", answer, evidence)


def _unreadable(
    problems: Mapping[str, Problem], answers: _Answers, probed: Sequence[Problem], judged: Iterator[Judgement]
) -> Iterator[Suspect]:
    """References that cannot be read: beside an answer that can, or as the verdict on a trace says."""
    found = {
        problem.problem_id: fault
        for problem, judgement in zip(probed, islice(judged, len(probed)), strict=True)
        if judgement.status == "unscored" and (fault := _fault(judgement.reason))
    }
    for name, teachers in answers.items():
        fault = next((said.fault for said in teachers.values() if said.fault), None)
        if fault is not None:
            found.setdefault(name, fault)
    for name, why in found.items():
        teachers = answers.get(name, {})
        unscored, n = sum(said.unscored for said in teachers.values()), sum(said.n for said in teachers.values())
        yield _suspect(problems[name], "unreadable", None, f"{why}; {unscored} of {n} traces could not be scored")


def _solution_disagrees(solved: Sequence[Problem], judged: Iterator[Judgement]) -> Iterator[Suspect]:
    """References that are not the answer in which their own solution ends."""
    for problem, judgement in zip(solved, judged, strict=True):
        if judgement.status == "incorrect" and judgement.rule in _SOLUTION_RULES and judgement.answer:
            why = _last_part(judgement.reason)
            evidence = f"its own solution ends in {_short(judgement.answer)} (rule {judgement.rule}); {why}"
            yield _suspect(problem, "solution_disagrees", judgement.answer, evidence)


def _case(problem: Problem, reference: str, answer: str) -> Case:
    """Compares two answers as the problem's answers are compared."""
    return Case(reference, answer, None, problem.answer_type, "", problem.grading, is_answer=True)


def _ending(problem: Problem) -> Case:
    """Compares the answer in which a solution ends with the reference."""
    solution = problem.solution or ""
    return Case(problem.reference, solution, None, problem.answer_type, problem.problem, problem.grading)


def _verify(recipe: Recipe, cases: Iterable[Case]) -> Iterator[Judgement]:
    settings = recipe.verify
    return verify_many(
        cases, leniency=settings.leniency, timeout_seconds=settings.timeout_seconds,
        processes=settings.processes or None,
    )  # fmt: skip


def _suspect(problem: Problem, kind: SuspectKind, answer: str | None, evidence: str) -> Suspect:
    return Suspect(
        problem_id=problem.problem_id, problem=problem.problem, reference=problem.reference, kind=kind,
        answer=answer, evidence=evidence, source=problem.source, license=problem.license,
    )  # fmt: skip


def _fault(reason: str) -> str | None:
    """What a reason says against the reference; behind the statement of what it is, which every reason has.

    >>> _fault("found 0 (rule given); the reference is [; the reference cannot be read: ']' is missing")
    "the reference cannot be read: ']' is missing"
    >>> _fault("found 0 (rule given); the reference is 4; the numbers differ")
    """
    for mark in _BLAMED:
        _, found, said = reason.rpartition(mark)
        if found and not (said.startswith("is ") and "; " in said):
            return f"{mark[2:]}{said}"
    return None


def _last_part(reason: str) -> str:
    """The finding of a reason, without the answer and the reference that stand before it."""
    return reason.rpartition("; ")[2]


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
