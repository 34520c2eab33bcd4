"""Reasoning: taken apart from the response in every shape that is known, and joined again without loss."""

import json
import re
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixdistill.builders.reasoning import (
    INLINE,
    MARKS,
    ReasoningForm,
    join_columns,
    join_reasoning,
    read_message,
    split_text,
)

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "reasoning.jsonl").read_text(encoding="utf-8").splitlines()
]
TEXTS = [case for case in CASES if "text" in case]
# Words with everything that stands in real thinking, marks of any kind among it.
PIECES = st.sampled_from(
    [
        "a", "So 2.", " ", "\n", "\n\n", "  ", "π", "\\boxed{4}", "`x`", "`", "```\n", "```python\n", '"', "'",
        "<b>", "1 < 2", "{}", "Wait,", "<answer>", "|", "\t",
        *(mark for marks in MARKS for mark in marks),
    ]
)  # fmt: skip
SPOKEN = st.lists(PIECES.filter(lambda piece: is_plain(piece)))


def is_plain(text: str) -> bool:
    """Whether nothing in it could be a mark."""
    marks = ("<|", "|>", "[BEGIN", "assistant", "analysis", "Here", *(mark for marks in MARKS for mark in marks))
    return not any(mark.lower() in text.lower() for mark in marks)


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case["why"])
def test_thinking_is_taken_apart_from_the_response(case: dict[str, Any]) -> None:
    assert split_text(case["text"]) == (case["reasoning"], case["response"]), case["why"]


@pytest.mark.parametrize("case", [case for case in CASES if "message" in case], ids=lambda case: case["why"])
def test_reasoning_is_found_wherever_the_server_puts_it(case: dict[str, Any]) -> None:
    assert read_message(case["message"]) == (case["reasoning"], case["response"]), case["why"]


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case["why"])
def test_a_message_with_a_text_is_read_like_the_text(case: dict[str, Any]) -> None:
    assert read_message({"role": "assistant", "content": case["text"]}) == split_text(case["text"])


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case["why"])
def test_what_was_taken_apart_is_joined_to_what_comes_apart_again(case: dict[str, Any]) -> None:
    split = split_text(case["text"])
    if split.reasoning:
        assert split_text(join_reasoning(*split)["content"]) == split


def test_no_two_cases_are_the_same() -> None:
    inputs = [json.dumps(case.get("text", case.get("message"))) for case in CASES]

    assert len(set(inputs)) == len(inputs)


@pytest.mark.parametrize("marks", MARKS, ids=lambda marks: marks.opener)
@settings(max_examples=50, deadline=None)
@given(thought=st.lists(PIECES), spoken=SPOKEN)
def test_what_is_joined_comes_apart_again(marks: Any, thought: list[str], spoken: list[str]) -> None:
    """Whatever the thinking holds, marks and open code among it, as long as the response holds no marks."""
    reasoning, response = "".join(thought).strip(), "".join(spoken).strip()
    form = ReasoningForm(opener=f"{marks.opener}\n", closer=f"\n{marks.closer}\n\n")

    content = join_reasoning(reasoning, response, form)["content"]

    assert split_text(content) == ((reasoning, response) if reasoning else split_text(response))


@settings(max_examples=200, deadline=None)
@given(thought=st.text().filter(is_plain), spoken=st.text().filter(is_plain))
def test_any_text_comes_apart_as_it_was(thought: str, spoken: str) -> None:
    opened, unopened = f"<think>{thought}\n</think>\n{spoken}", f"hm {thought}\n</think>\n{spoken}"

    assert split_text(opened) == (thought.strip(), spoken.strip())
    assert split_text(unopened) == (f"hm {thought}".strip(), spoken.strip())


@settings(max_examples=200, deadline=None)
@given(
    messages=st.lists(st.text("ab \n`<|>"), min_size=1, max_size=4),
    response=st.text("ab \n`<|>"),
    ends=st.sampled_from(["<|return|>", "<|end|>", ""]),
)
def test_channels_come_apart_as_they_were(messages: list[str], response: str, ends: str) -> None:
    thinking = "<|end|><|start|>assistant".join(f"<|channel|>analysis<|message|>{text}" for text in messages)
    content = f"{thinking}<|end|><|start|>assistant<|channel|>final<|message|>{response}{ends}"

    reasoning = "\n\n".join(text.strip() for text in messages if text.strip())
    assert split_text(content) == (reasoning or None, response.strip())


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(PIECES))
def test_nothing_is_lost_but_marks_and_blanks(pieces: list[str]) -> None:
    text = "".join(pieces)
    split = split_text(text)

    def letters(of: str) -> str:
        for mark in sorted({mark for marks in MARKS for mark in marks}, key=len, reverse=True):
            of = of.replace(mark, "")
        return re.sub(r"\s", "", of)

    assert letters((split.reasoning or "") + split.response) == letters(text)
    assert (split.reasoning or "").strip() == (split.reasoning or "")
    assert split.reasoning is not None or split.response == text


@settings(max_examples=200, deadline=None)
@given(thought=SPOKEN, response=st.text("ab \n<|>`"))
@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "thinking"])
def test_what_is_joined_into_a_field_is_read_from_it(field: str, thought: list[str], response: str) -> None:
    reasoning = "".join(["Hm.", *thought]).strip()

    message = join_reasoning(reasoning, response, ReasoningForm(field=field))

    assert read_message(message) == (reasoning, response.strip())


def test_a_response_without_reasoning_is_joined_to_itself() -> None:
    assert join_reasoning(None, "It is 2.") == {"role": "assistant", "content": "It is 2."}
    assert join_reasoning("", "It is 2.") == {"role": "assistant", "content": "It is 2."}
    assert join_reasoning("", "It is 2.", ReasoningForm(field="reasoning_content")) == {
        "role": "assistant", "reasoning_content": None, "content": "It is 2."
    }  # fmt: skip


def test_a_thought_that_the_template_opens_is_closed_also_where_there_was_none() -> None:
    form = ReasoningForm(opener="", closer="\n</think>\n\n")

    assert join_reasoning("1 + 1", "2", form)["content"] == "1 + 1\n</think>\n\n2"
    assert join_reasoning(None, "2", form)["content"] == "\n</think>\n\n2"


def test_a_form_is_told_in_a_word() -> None:
    assert str(INLINE) == "<think>...</think>"
    assert str(ReasoningForm(field="reasoning_content")) == "reasoning_content"


@pytest.mark.parametrize(
    "piece",
    ["<think>", "</think>", "<think> a", "`", "```\n", "```python\n", '"</think>', "<|channel|>", "<|message|>",
     "<|channel|>final<|message|>", "assistantfinal", "<think>`</think>`", " <think>", "<|begin_of_solution|>",
     "Here is my thought process:", "</answer>", " "],
    ids=repr,
)  # fmt: skip
def test_a_megabyte_of_noise_is_taken_apart_in_a_moment(piece: str) -> None:
    started = time.perf_counter()

    for opener in ("", "<think>", "Here is my thought process:"):
        split_text(opener + piece * (1_000_000 // len(piece)))

    assert time.perf_counter() - started < 6


@pytest.mark.parametrize(
    "form", [INLINE, ReasoningForm(field="thinking"), ReasoningForm(opener="", closer="\n</think>\n\n")]
)
def test_columns_are_joined_as_single_texts_are(form: ReasoningForm) -> None:
    texts = [("1 + 1 is 2", "It is 2."), (None, "It is 2."), ("", "Two."), ("a\nb", "")]

    joined = join_columns(
        pl.Series([one for one, _ in texts], dtype=pl.String), pl.Series([two for _, two in texts]), form
    )

    rows = [dict(zip([column.name for column in joined], row, strict=True)) for row in zip(*joined, strict=True)]
    assert rows == [
        {name: text for name, text in join_reasoning(*pair, form).items() if name != "role"} for pair in texts
    ]
