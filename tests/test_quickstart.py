"""The quickstart, as the README promises it: a real model, real problems, a dataset that loads."""

import re
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def mix(quickstart: Path, tmp_path: Path) -> list[dict[str, Any]]:
    import datasets

    folder = str(quickstart / "dataset-as-made")
    read = datasets.load_dataset(folder, "mix-long", split="train", cache_dir=str(tmp_path))
    rows: list[dict[str, Any]] = read.to_list()
    return rows


def test_the_mix_has_enough_rows_and_exactly_a_fifth_is_long(mix: list[dict[str, Any]]) -> None:
    assert len(mix) >= 24
    assert sum(row["style"] == "long" for row in mix) * 5 == len(mix)
    assert len({row["problem_id"] for row in mix}) == len(mix)


def test_every_row_is_right_by_a_check_that_is_not_ours(mix: list[dict[str, Any]]) -> None:
    for row in mix:
        boxed = re.findall(r"\\boxed\{(-?\d+)\}", row["completion"][0]["content"])
        assert int(boxed[-1]) == int(row["reference"])


def test_long_traces_are_long_and_short_ones_are_short(mix: list[dict[str, Any]]) -> None:
    long, short = (
        [row["completion_tokens"] for row in mix if row["style"] == style] for style in ("long", "short")
    )

    assert min(long) > max(short)


def test_a_row_is_conversational(mix: list[dict[str, Any]]) -> None:
    for row in mix:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert row["messages"] == row["prompt"] + row["completion"]
        assert row["prompt"][0]["content"] == row["problem"]
