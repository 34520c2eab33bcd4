"""The adversarial suite: every attack gets a status that it may have, and does no harm."""

import random
from pathlib import Path

import pytest
from adversarial import ANY, CORRECT, NOT_CORRECT, UNDECIDED, attacks

from mixdistill.verifiers.verify import Case, verify, verify_many

# What a status stands for does not depend on the limit, so a short one keeps the suite short.
TIMEOUT_SECONDS = 2.0
EASY = Case(r"2\sqrt{2}", r"\boxed{\sqrt{8}}")


def test_every_attack_gets_a_status_that_it_may_have_and_nothing_is_executed(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    suite = attacks(trap)
    cases = [Case(attack.reference, attack.response) for attack in suite]
    judged = list(verify_many([*cases, EASY, EASY], timeout_seconds=TIMEOUT_SECONDS, processes=2))
    wrong = [
        f"{attack.name}: {judgement.status}: {judgement.reason}"
        for attack, judgement in zip(suite, judged, strict=False)
        if judgement.status not in attack.allowed
    ]
    assert not wrong, "\n".join(wrong)
    assert [judgement.status for judgement in judged[-2:]] == ["correct", "correct"]
    assert list(tmp_path.iterdir()) == []


def test_easy_cases_among_attacks_get_the_same_verdicts_as_alone(tmp_path: Path) -> None:
    easy = [Case(str(n), rf"so \boxed{{{n + n % 2}}}") for n in range(300)]  # every other one is wrong
    easy += [Case(rf"{n}\sqrt{{2}}", rf"so \boxed{{\sqrt{{{2 * n * n}}}}}") for n in range(2, 52)]
    draw = random.Random(3)
    suite = draw.sample([attack for attack in attacks(tmp_path / "executed") if attack.kind == "cost"], 12)
    mixed: list[Case | None] = [*easy, *(None for _ in suite)]
    draw.shuffle(mixed)
    hostile = iter(suite)
    cases = [case or Case(*next(hostile)[2:4]) for case in mixed]
    judged = verify_many(cases, timeout_seconds=TIMEOUT_SECONDS, processes=2)
    statuses = [judgement.status for judgement, case in zip(judged, mixed, strict=True) if case]
    assert sorted(statuses) == ["correct"] * 200 + ["incorrect"] * 150


@pytest.mark.parametrize("kind", ["code", "cost", "near"])
def test_one_attack_at_a_time_leaves_the_kept_worker_healthy(kind: str, tmp_path: Path) -> None:
    suite = [attack for attack in attacks(tmp_path / "executed") if attack.kind == kind]
    for attack in random.Random(kind).sample(suite, 6):
        judged = verify(attack.reference, attack.response, timeout_seconds=TIMEOUT_SECONDS)
        assert judged.status in attack.allowed, attack.name
        assert verify(*EASY[:2]).status == "correct", attack.name


def test_the_suite_cannot_be_passed_by_one_status_for_all(tmp_path: Path) -> None:
    suite = attacks(tmp_path / "executed")
    for status in ANY:
        assert any(status not in attack.allowed for attack in suite)
    assert {attack.allowed for attack in suite} == {ANY, CORRECT, NOT_CORRECT, UNDECIDED}
    assert len({attack.name for attack in suite}) == len(suite)
