"""Which samples of a problem a teacher is asked for next, given the verdicts on those that came.

Pure: no engine, no file, no clock. Rounds make the order deterministic: a round asks for as many samples as right
ones are missing, all at once, and the next one follows from its verdicts alone, however long each answer took.
"""

from collections.abc import Sequence

from mixdistill.records import Status
from mixdistill.teachers import SampledTeacher


def next_samples(teacher: SampledTeacher, statuses: Sequence[Status]) -> range:
    """The samples of the next round, after those whose verdicts are `statuses`; empty if that was all.

    A reference that cannot be read ends it: no sample could ever be right.

    >>> from mixdistill.teachers import OpenAITeacher
    >>> samples = {"until_correct": 2, "at_most": 4}
    >>> teacher = OpenAITeacher(engine="openai", model="m", style="long", temperature=0.7, samples=samples)
    >>> next_samples(teacher, [])
    range(0, 2)
    >>> next_samples(teacher, ["correct", "incorrect"])
    range(2, 3)
    >>> next_samples(teacher, ["correct", "incorrect", "correct"])
    range(3, 3)
    """
    n = len(statuses)
    if isinstance(teacher.samples, int):
        return range(n, teacher.samples)
    if is_hopeless(statuses):
        return range(n, n)
    lacking = teacher.samples.until_correct - statuses.count("correct")
    return range(n, min(n + max(lacking, 0), teacher.samples.at_most))


def is_hopeless(statuses: Sequence[Status]) -> bool:
    """Whether the reference is at fault, so that nobody's answer can be judged right."""
    return "unscored" in statuses


def escalates(teacher: SampledTeacher, statuses: Sequence[Status]) -> bool:
    """Whether a problem, with all its samples judged, goes on to the next teacher."""
    return statuses.count("correct") < teacher.right_samples and not is_hopeless(statuses)
