"""Arms: exact ratios, the same problems where mixes are compared, the same draw every time."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import polars as pl
import pytest
from made_offers import counts, draw, draw_from, held, names, offered, taken
from made_runs import make_recipe

from mixdistill.builders.arms import Arm, draw_contrast
from mixdistill.builders.offers import Offered
from mixdistill.builders.sharing import largest_remainder
from mixdistill.errors import MixdistillError, RecipeError

MIXES = {"long": {"long": 1.0}, "short": {"short": 1.0}, "mix-long": {"long": 0.2, "short": 0.8}}


def counts_by_hand(shares: Sequence[str], rows: int) -> list[int]:
    """Hamilton's method on exact fractions."""
    quotas = [Fraction(share) * rows for share in shares]
    counts = [quota.numerator // quota.denominator for quota in quotas]
    places = sorted(range(len(shares)), key=lambda place: (counts[place] - quotas[place], place))
    for place in places[: rows - sum(counts)]:
        counts[place] += 1
    return counts


@pytest.mark.parametrize(
    "shares",
    [
        ("0.2", "0.8"), ("0.8", "0.2"), ("0.1", "0.9"), ("0.05", "0.95"), ("0.35", "0.65"), ("0.5", "0.5"),
        ("0.1", "0.2", "0.7"), ("0.15", "0.15", "0.7"), ("0.3", "0.3", "0.3", "0.1"), ("1.0",),
    ],
)  # fmt: skip
def test_counts_are_those_of_the_largest_remainder_in_exact_arithmetic(shares: tuple[str, ...]) -> None:
    by_part = {f"part {number}": float(share) for number, share in enumerate(shares)}

    for rows in [*range(1, 400), 10_000, 94_733, 1_000_001]:
        assert [*largest_remainder(by_part, rows).values()] == counts_by_hand(shares, rows), rows


@pytest.mark.parametrize(
    ("shares", "rows", "counts"),
    [  # thirds have no exact share; the counts sum up all the same
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 10, {"a": 4, "b": 3, "c": 3}),
        ({"a": 1 / 3, "b": 2 / 3}, 9, {"a": 3, "b": 6}),
        ({"a": 0.5, "b": 0.5}, 1, {"a": 1, "b": 0}),
        ({"a": 0.001, "b": 0.999}, 100, {"a": 0, "b": 100}),
        ({"a": 0.2, "b": 0.8}, 0, {"a": 0, "b": 0}),
    ],
)
def test_counts_sum_to_the_rows(shares: dict[str, float], rows: int, counts: dict[str, int]) -> None:
    assert largest_remainder(shares, rows) == counts


def test_each_problem_stands_once_in_each_arm_and_all_arms_hold_the_same_in_the_same_order() -> None:
    arms = draw(MIXES, {"long": names(30)[3:], "short": names(28)})

    problems = [held(arm) for arm in arms.values()]
    assert problems[0] == problems[1] == problems[2]
    assert sorted(problems[0]) == sorted(names(28)[3:])
    assert counts(arms["mix-long"]) == {"long": 5, "short": 20}
    assert taken(arms["long"], "long") == set(problems[0])
    assert [arm.left_out for arm in arms.values()] == [
        {"no right trace by long": 3, "no right trace by short": 2}
    ] * 3


@pytest.mark.parametrize("long_first", [True, False])
def test_an_arm_with_more_long_rows_holds_all_of_one_with_less(long_first: bool) -> None:
    mixes = {}
    for tenths in range(11):
        shares = {"long": tenths / 10, "short": 1 - tenths / 10}
        turned = dict(reversed(shares.items()))
        mixes[f"long-{tenths}"] = shares if long_first or tenths % 2 else turned

    arms = draw(mixes, {"long": names(50), "short": names(50)})

    long_rows = [taken(arm, "long") for arm in arms.values()]
    assert [len(rows) for rows in long_rows] == [5 * tenths for tenths in range(11)]
    assert all(less < more for less, more in itertools.pairwise(long_rows))


def test_which_problems_are_long_is_no_matter_of_their_place_among_the_rows() -> None:
    arm = draw({"mix": {"long": 0.5, "short": 0.5}}, {"long": names(200), "short": names(200)})["mix"]

    first_half = Counter(arm.rows["part"][:100])

    assert 30 < first_half["long"] < 70


def test_the_draw_does_not_depend_on_the_order_of_the_input() -> None:
    recipe = make_recipe(MIXES, mixing={"rows": 17})
    shuffled = names(30)
    random.Random(1).shuffle(shuffled)

    there = offered({"long": names(30), "short": names(30)})
    order = pl.Series(shuffled)
    turned = there._replace(
        problems=there.problems.sort(order.arg_sort()), slots=there.slots.sample(fraction=1, shuffle=True, seed=1)
    )

    def arms(given: Offered) -> list[tuple[str, list[tuple[object, ...]]]]:
        return [(arm.name, arm.rows.rows()) for arm in draw_contrast(recipe, list(MIXES), given)]

    assert turned.slots.rows() != there.slots.rows()
    assert arms(turned) == arms(there)


def test_another_seed_is_another_draw() -> None:
    right = {"long": names(30), "short": names(30)}

    def mix(seed: int) -> Arm:
        return draw(MIXES, right, seed=seed, mixing={"rows": 20})["mix-long"]

    assert held(mix(1)) == held(mix(1))
    assert set(held(mix(1))) != set(held(mix(2)))
    assert held(mix(1)) != held(mix(2))
    assert taken(mix(1), "long") != taken(mix(2), "long")


def test_another_seed_is_another_order_of_the_same_problems() -> None:
    first, second = (draw(MIXES, {"long": names(30), "short": names(30)}, seed=seed)["long"] for seed in (1, 2))

    assert sorted(held(first)) == sorted(held(second))
    assert held(first) != held(second)


@pytest.mark.parametrize(
    ("mixing", "rows"),
    [({}, 24), ({"rows": 7}, 7), ({"multiple_of": 5}, 20), ({"rows": 14, "multiple_of": 5}, 10)],
)
def test_rows_are_as_many_as_asked_in_whole_multiples(mixing: dict[str, int], rows: int) -> None:
    arms = draw(MIXES, {"long": names(24), "short": names(30)}, mixing=mixing)

    assert [arm.rows.height for arm in arms.values()] == [rows] * 3
    expected = {"beyond the size of the mix": 24 - rows, "no right trace by long": 6}
    assert arms["long"].left_out == {reason: n for reason, n in expected.items() if n}


@pytest.mark.parametrize(
    ("mixing", "kind", "message"),
    [
        (
            {"rows": 25, "multiple_of": 5}, MixdistillError,
            "mixes long, short, mix-long: mixing.rows is 25, and there are 24 problems that all their teachers "
            "got right; set mixing.rows=20, add --allow-smaller, or take more samples",
        ),
        (
            {"multiple_of": 25}, MixdistillError,
            "mixes long, short, mix-long: only 24 problems that all their teachers got right, and at least 25 are "
            "needed by mixing.multiple_of (right by part: long 24, short 30); take more samples, easier problems, "
            "or mixing.match=none",
        ),
        (
            {"rows": 30, "multiple_of": 25}, MixdistillError,
            "mixes long, short, mix-long: only 24 problems that all their teachers got right, and at least 25 are "
            "needed by mixing.multiple_of (right by part: long 24, short 30); take more samples, easier problems, "
            "or mixing.match=none",
        ),
        (
            {"rows": 3, "multiple_of": 5}, RecipeError,
            "mixing.rows is 3, less than mixing.multiple_of, which is 5; raise rows",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_with_what_can(
    mixing: dict[str, int], kind: type[MixdistillError], message: str
) -> None:
    with pytest.raises(MixdistillError) as refused:
        draw(MIXES, {"long": names(24), "short": names(30)}, mixing=mixing)

    assert (type(refused.value), str(refused.value)) == (kind, message)


def test_the_rows_that_a_refusal_names_can_be_had() -> None:
    arms = draw(MIXES, {"long": names(24), "short": names(30)}, mixing={"rows": 20, "multiple_of": 5})

    assert counts(arms["mix-long"]) == {"long": 4, "short": 16}


def test_without_matching_each_arm_is_as_large_as_its_ratio_allows() -> None:
    arms = draw(MIXES, {"long": names(30)[:10], "short": names(30)[5:]}, mixing={"match": "none"})

    assert [arm.rows.height for arm in arms.values()] == [10, 25, 30]
    assert set(held(arms["long"])) == set(names(10))
    assert set(held(arms["short"])) == set(names(30)[5:])
    assert arms["long"].left_out == {"no right trace by long": 20}
    assert counts(arms["mix-long"]) == {"long": 6, "short": 24}
    assert set(names(5)) <= taken(arms["mix-long"], "long")


def test_rare_long_traces_limit_a_mix_to_what_its_ratio_allows() -> None:
    arms = draw(MIXES, {"long": names(100)[:4], "short": names(100)}, mixing={"match": "none"})

    assert counts(arms["mix-long"]) == {"long": 4, "short": 18}  # 23 rows would take 5 long ones
    assert arms["mix-long"].left_out == {"beyond the size of the mix": 78}


def test_mixes_of_as_many_steps_hold_whole_batches_of_their_own_problems() -> None:
    right = {"long": names(100)[:40], "short": names(100)[20:]}

    arms = draw(MIXES, right, mixing={"match": "steps", "batch_size": 8, "multiple_of": 5})

    assert [arm.rows.height for arm in arms.values()] == [40, 40, 40]
    assert set(held(arms["long"])) == set(names(40))
    assert set(held(arms["short"])) <= set(names(100)[20:])


def test_mixes_of_as_many_tokens_begin_with_the_same_problems() -> None:
    rng = random.Random(5)
    problems = names(400)
    tokens = {
        "long": {problem: rng.randint(300, 900) for problem in problems},
        "short": {problem: rng.randint(30, 90) for problem in problems},
    }
    there = offered({"long": problems, "short": problems}, tokens=tokens)

    arms = draw_from(there, MIXES, mixing={"match": "tokens"})

    totals = {name: int(there.traces["tokens"].gather(arm.rows["number"]).sum()) for name, arm in arms.items()}
    assert totals["short"] == sum(tokens["short"].values())
    assert max(abs(total - totals["short"]) for total in totals.values()) <= 450  # half of the longest trace
    assert set(held(arms["long"])) < set(held(arms["mix-long"])) < set(held(arms["short"])) == set(problems)
    parts = counts(arms["mix-long"])
    assert abs(parts["long"] - 0.2 * parts.total()) < 1


def test_fewer_tokens_than_there_are_can_be_asked_for_and_more_are_refused() -> None:
    tokens = {part: dict.fromkeys(names(50), n) for part, n in (("long", 100), ("short", 10))}
    there = offered({"long": names(50), "short": names(50)}, tokens=tokens)

    arms = draw_from(there, MIXES, mixing={"match": "tokens", "tokens": 300})
    assert [arms[name].rows.height for name in ("long", "short")] == [3, 30]
    with pytest.raises(
        MixdistillError, match=r"mixing.tokens is 5,000, and one of them has 500 .*tokens=500, add"
    ):
        draw_from(there, MIXES, mixing={"match": "tokens", "tokens": 5000})
    smaller = draw_from(there, MIXES, mixing={"match": "tokens", "tokens": 5000, "allow_smaller": True})
    assert [smaller[name].rows.height for name in ("long", "short")] == [5, 50]


def test_shares_of_tokens_come_out_within_a_trace() -> None:
    rng = random.Random(7)
    problems = names(300)
    tokens = {
        part: {problem: rng.randint(least, 3 * least) for problem in problems}
        for part, least in (("long", 300), ("short", 30), ("other", 100))
    }
    mixes = {"two": {"long": 0.2, "short": 0.8}, "three": {"long": 0.5, "other": 0.3, "short": 0.2}}
    there = offered(dict.fromkeys(tokens, problems), tokens=tokens)
    teachers = {name: {"engine": "dataset", "file": "t", "style": "long"} for name in tokens}

    arms = draw_from(there, mixes, mixing={"by": "tokens"}, teachers=teachers)

    for name, wanted in mixes.items():
        rows = arms[name].rows.with_columns(there.traces["tokens"].gather(arms[name].rows["number"]))
        total = int(rows["tokens"].sum())
        assert rows.height == 300
        for part, share in wanted.items():
            achieved = int(rows.filter(pl.col("part") == part)["tokens"].sum()) / total
            assert abs(achieved - share) * total <= 900, (name, part, achieved)


def test_shares_of_tokens_are_refused_where_nobody_counted_them() -> None:
    with pytest.raises(RecipeError, match=r"^mixing.by: tokens goes by tokens, .* set stats.tokenizer"):
        draw(MIXES, {"long": names(9), "short": names(9)}, mixing={"by": "tokens"})


def test_a_mix_takes_any_number_of_parts_and_each_problem_stands_in_it_once() -> None:
    shares = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}
    teachers = {name: {"engine": "dataset", "file": "t", "style": "long"} for name in shares}
    right = {part: names(200)[place * 10 :] for place, part in enumerate(shares)}

    for match in ("problems", "none"):
        arm = draw({"all": shares}, right, teachers=teachers, mixing={"match": match, "rows": 150})["all"]
        assert counts(arm) == {"a": 15, "b": 30, "c": 45, "d": 60}
        assert len(set(held(arm))) == 150
        assert all(taken(arm, part) <= set(right[part]) for part in shares)


def test_no_more_rows_come_from_a_subject_or_source_than_the_recipe_says() -> None:
    about = {
        problem: {"subject": "Algebra" if number % 4 else "Geometry", "source": "all"}
        for number, problem in enumerate(names(40))
    }
    there = offered({"short": names(40), "long": names(40)}, about=about)

    def subjects(**limits: object) -> Counter[str]:
        arm = draw_from(there, MIXES, mixing={"at_most": limits})["mix-long"]
        assert arm.left_out == {
            f"beyond the size of the mix, or at_most of {', '.join(limits)}": 40 - arm.rows.height
        }
        return Counter(about[problem]["subject"] for problem in held(arm))

    assert subjects(subject=12) == {"Algebra": 12, "Geometry": 10}
    assert subjects(subject={"Algebra": 3}) == {"Algebra": 3, "Geometry": 10}
    assert subjects(source=8, subject=7).total() <= 8


def test_rows_that_are_not_there_can_be_left_out_of_the_size() -> None:
    mixing = {"rows": 25, "multiple_of": 5, "allow_smaller": True}

    arms = draw(MIXES, {"long": names(24), "short": names(30)}, mixing=mixing)

    assert [arm.rows.height for arm in arms.values()] == [20, 20, 20]


def test_a_band_of_difficulty_has_shares_of_its_own() -> None:
    bands = {problem: "hard" if number < 10 else "easy" for number, problem in enumerate(names(30))}
    there = offered({"long": names(30), "short": names(30)[5:]}, bands=bands)
    mixes = {"adaptive": {"easy": {"short": 1.0}, "hard": {"long": 1.0}}}

    own = draw_from(there, mixes, mixing={"match": "none"})["adaptive"]
    same = draw_from(there, mixes)["adaptive"]

    assert taken(own, "long") == set(names(10))
    assert taken(own, "short") == set(names(30)[10:])
    assert taken(same, "long") == set(names(10))
    assert taken(same, "short") == set(names(30)[10:])


def test_a_part_with_no_share_asks_nothing_of_its_teacher() -> None:
    arms = draw({"short": {"long": 0.0, "short": 1.0}}, {"long": [], "short": names(5)})

    assert sorted(held(arms["short"])) == names(5)
    assert arms["short"].shares == {"": {"short": 1.0}}


def test_fewer_rows_than_there_are_can_be_had_also_where_rounding_favours_a_rare_part() -> None:
    shares = {"a": 0.46, "b": 0.46, "c": 0.08}  # of 11 rows c has 1, of 6 rows none or one: the Alabama paradox
    teachers = {name: {"engine": "dataset", "file": "t", "style": "long"} for name in shares}
    right = {"a": names(11)[:5], "b": names(11)[5:10], "c": names(11)[10:]}

    for rows in range(1, 12):
        mixing = {"match": "none", "rows": rows, "allow_smaller": True}
        arm = draw({"m": shares}, right, teachers=teachers, mixing=mixing)["m"]
        assert len(set(held(arm))) == arm.rows.height <= rows
        assert arm.rows.height >= rows - 1
        assert all(taken(arm, part) <= set(right[part]) for part in shares)


def test_mixes_of_different_bands_share_only_the_problems_of_both() -> None:
    bands = {problem: ("low", "middle", "high")[number % 3] for number, problem in enumerate(names(30))}
    there = offered({"long": names(30), "short": names(30)}, bands=bands)
    mixing = {"difficulty": {"bands": {"low": [0, 0.3], "middle": [0.3, 0.6], "high": [0.6, 1]}}}
    mixes = {"a": {"low": {"long": 1}, "middle": {"short": 1}}, "b": {"middle": {"long": 1}, "high": {"short": 1}}}

    arms = draw_from(there, mixes, mixing=mixing)

    assert set(held(arms["a"])) == set(held(arms["b"])) == {name for name in bands if bands[name] == "middle"}


def test_of_mixes_of_as_many_steps_the_one_that_is_too_small_is_named() -> None:
    mixing = {"match": "steps", "batch_size": 8}

    with pytest.raises(
        MixdistillError, match=r"^mixes long, short, mix-long: only 5 problems that fit the ratio of long"
    ):
        draw(MIXES, {"long": names(100)[:5], "short": names(100)}, mixing=mixing)


def test_where_rows_are_capped_those_stay_that_rare_parts_can_give() -> None:
    about = {problem: {"level": "1"} for problem in names(100)}
    there = offered({"long": names(100)[:10], "short": names(100)}, about=about)

    for seed in range(5):
        arms = draw_from(there, MIXES, mixing={"match": "none", "at_most": {"level": {1: 5}}}, seed=seed)
        assert counts(arms["mix-long"]) == {"long": 1, "short": 4}


def test_a_cap_takes_of_each_part_what_the_ratio_asks_for() -> None:
    about = {problem: {"source": "one"} for problem in names(100)}
    there = offered({"long": names(100)[:20], "short": names(100)[20:]}, about=about)
    mixes = {"half": {"long": 0.5, "short": 0.5}}

    for seed, cap in itertools.product(range(4), (4, 20)):
        arm = draw_from(there, mixes, mixing={"match": "none", "at_most": {"source": cap}}, seed=seed)["half"]
        assert counts(arm) == {"long": cap / 2, "short": cap / 2}


def test_a_cap_on_what_no_problem_has_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"^mixing.at_most.level: no problem has 'Level 5'"):
        draw(MIXES, {"long": names(9), "short": names(9)}, mixing={"at_most": {"level": {"Level 5": 3}}})


def test_bands_by_tokens_ask_of_a_problem_only_the_parts_of_its_band() -> None:
    bands = {problem: "hard" if number < 10 else "easy" for number, problem in enumerate(names(30))}
    tokens = {part: dict.fromkeys(names(30), 10) for part in ("long", "short")}
    there = offered({"long": names(10), "short": names(30)[10:]}, bands=bands, tokens=tokens)
    mixes = {"adaptive": {"easy": {"short": 1.0}, "hard": {"long": 1.0}}}

    for mixing in ({"match": "none", "by": "tokens"}, {"match": "steps", "batch_size": 1}, {"by": "tokens"}):
        arm = draw_from(there, mixes, mixing=mixing)["adaptive"]
        assert counts(arm) == {"long": 10, "short": 20}


def test_problems_in_no_band_of_a_mix_are_told_so_and_mixes_without_a_common_band_are_refused() -> None:
    bands = {problem: "hard" if number < 10 else "easy" for number, problem in enumerate(names(30))}
    there = offered({"long": names(30), "short": names(30)}, bands=bands)
    hard, easy = {"hard": {"long": 1.0}}, {"easy": {"short": 1.0}}

    arm = draw_from(there, {"a": hard})["a"]

    assert (arm.rows.height, arm.left_out) == (10, {"in no band of difficulty of the mix": 20})
    with pytest.raises(RecipeError, match=r"^mixes a, b: have no band of difficulty in common"):
        draw_from(there, {"a": hard, "b": easy})


def test_rows_that_a_ratio_cannot_have_are_refused_with_those_that_it_can() -> None:
    shares = {"a": 0.43, "b": 0.43, "c": 0.14}
    teachers = {name: {"engine": "dataset", "file": "t", "style": "long"} for name in shares}
    right = {"a": names(11)[:5], "b": names(11)[5:10], "c": names(11)[10:]}

    assert counts(draw({"m": shares}, right, teachers=teachers, mixing={"match": "none"})["m"]).total() == 11
    with pytest.raises(MixdistillError, match=r"10 rows cannot be had in this ratio, .* set mixing.rows=9"):
        draw({"m": shares}, right, teachers=teachers, mixing={"match": "none", "rows": 10})
