"""The measures of a trace, by hand, and where sentences end."""

import math

import pytest

from mixdistill.builders.surprise import (
    local_naturalness,
    local_windows,
    mean_logprob,
    rank_surprisal_ratio,
    sentence_ends,
)
from mixdistill.scoring import preferred


def test_the_ratio_is_of_sums_and_not_a_mean_of_ratios() -> None:
    logprobs, ranks = [-0.001, -4.0, -2.0], [1, 3, 60]

    assert rank_surprisal_ratio(logprobs, ranks) == pytest.approx(64 / 6.001)


def test_a_rank_beyond_a_hundred_counts_as_a_hundred() -> None:
    assert rank_surprisal_ratio([-10.0], [100]) == rank_surprisal_ratio([-10.0], [49_152]) == 10.0


def test_what_surprises_nobody_has_no_ratio() -> None:
    assert rank_surprisal_ratio([0.0, 0.0], [1, 1]) is None


def test_an_unlikely_trace_among_what_the_student_would_say_is_the_better_one() -> None:
    aligned, foreign = ([math.log(0.2)] * 5, [2] * 5), ([math.log(0.01)] * 5, [70] * 5)
    certain = ([math.log(0.95)] * 5, [1] * 5)
    ratios = [rank_surprisal_ratio(*each) for each in (aligned, foreign, certain)]

    assert preferred("rank_surprisal_ratio") == "low"
    assert min(ratio for ratio in ratios if ratio is not None) == ratios[0]


def test_sentences_weigh_alike_however_long_they_are() -> None:
    steps = [[-1.0], [-4.0, -4.0, -4.0, -4.0]]

    assert local_naturalness(steps) == -2.5
    assert mean_logprob([each for step in steps for each in step]) == -3.4
    assert preferred("local_naturalness") == preferred("mean_logprob") == "high"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        pytest.param(
            "It is 12. So we stop.", ["It is 12.", " So we stop."], id="the blank goes with what follows"
        ),
        pytest.param("Half of 7.5 is 3.75!", ["Half of 7.5 is 3.75!"], id="a decimal point ends nothing"),
        pytest.param("Add them\n\nThen halve", ["Add them\n\n", "Then halve"], id="line breaks end one"),
        pytest.param(
            "1. Add them.\n2. Halve it.", ["1. Add them.", "\n2. Halve it."], id="the number of an item is none"
        ),
        pytest.param('He says "no." We go.', ['He says "no."', " We go."], id="a closing quote belongs to it"),
        pytest.param("先算加法。再除以二。", ["先算加法。", "再除以二。"], id="no blank in Chinese"),
        pytest.param("Wait... what? Yes, it is.", ["Wait...", " what?", " Yes, it is."], id="dots"),
        pytest.param("The answer is 7. ok", ["The answer is 7. ok"], id="a short rest goes with the last"),
        pytest.param("7", ["7"], id="nothing but a short rest"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_a_text_comes_apart_into_sentences(text: str, sentences: list[str]) -> None:
    ends = sentence_ends(text)

    assert [text[start:end] for start, end in zip([0, *ends], ends, strict=False)] == sentences


@pytest.mark.parametrize("n_before", [0, 1, 4, 9])
def test_each_token_is_scored_in_one_window_after_so_many_sentences(n_before: int) -> None:
    ends = [3, 5, 9, 10, 14, 20]
    windows = local_windows(ends, n_before)

    scored = [token for window in windows for token in range(window.first, window.end)]
    assert scored == list(range(20))
    for window in windows[1:]:
        assert sum(window.start < end <= window.first for end in ends) == n_before
