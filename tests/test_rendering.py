"""Rows rendered as the trainers make them; those of TRL are compared with what TRL makes itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from student_templates import DEEPSEEK_R1_KEPT, STUDENTS, write_student

from mixdistill.builders.rendering import Rendered, Span, cut, render
from mixdistill.builders.student import Student, Turn, load_student
from mixdistill.records import Trainer

TURNS: list[list[Turn]] = [
    [{"role": "user", "content": "What is 7 + 5?"},
     {"role": "assistant", "reasoning_content": "We add 7 and 5.", "content": "It is \\boxed{12}."}],
    [{"role": "user", "content": " How many apples are in 5 boxes? "},
     {"role": "assistant", "reasoning_content": None, "content": "\n There are 25. " * 20}],
]  # fmt: skip


@pytest.fixture(params=[*STUDENTS, "DeepSeek-R1-Distill, kept"])
def student(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Student]:
    name, _, kept = request.param.partition(", ")
    of_name = STUDENTS[name]
    yield load_student(
        write_student(tmp_path / "student", of_name._replace(template=DEEPSEEK_R1_KEPT) if kept else of_name)
    )


def rendered(student: Student, trainer: Trainer = "trl") -> list[Rendered]:
    rows = render(student, [turns[:1] for turns in TURNS], [turns[1:] for turns in TURNS], trainer)
    return [row for row in rows if isinstance(row, Rendered)]


# TRL 1.16 sets an option that transformers 5.24 calls outdated.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("max_length", [None, 100])
def test_rows_for_trl_are_those_that_trl_makes(student: Student, tmp_path: Path, max_length: int | None) -> None:
    import torch
    from datasets import Dataset
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(student.name))  # type: ignore[no-untyped-call]
    dataset = Dataset.from_list([{"prompt": turns[:1], "completion": turns[1:]} for turns in TURNS])
    settings = SFTConfig(str(tmp_path / "out"), max_length=max_length, use_cpu=True, bf16=False, report_to="none")
    trainer = SFTTrainer(model, settings, train_dataset=dataset, processing_class=student.tokenizer)
    made = trainer.train_dataset
    assert isinstance(made, Dataset)

    rows = rendered(student)

    for row, ids, labels in zip(rows, made["input_ids"], made["labels"], strict=True):
        with_loss = [place for place, label in enumerate(labels) if label != -100]
        left = cut(row, "trl", max_length)
        assert row.ids[: left.tokens] == ids
        assert [place for span in row.loss for place in range(*span) if place < left.tokens] == with_loss
        assert left.loss_tokens == len(with_loss)
    batch = trainer.data_collator([dict(made[0]), dict(made[1])])
    stop = rows[0].stop
    assert stop is not None and batch["labels"][0][stop] == rows[0].ids[stop]


def with_loss(student: Student, row: Rendered) -> str:
    """The text that the student is trained on."""
    return str(student.tokenizer.decode([row.ids[place] for span in row.loss for place in range(*span)]))


ANSWER = "It is \\boxed{12}."


@pytest.mark.parametrize(
    ("name", "trainer", "text"),
    [
        ("Qwen2.5", "trl", f"{ANSWER}<|im_end|>\n"),
        ("Qwen2.5", "llamafactory", f"{ANSWER}<|im_end|>\n"),
        ("Qwen2.5", "axolotl", f"{ANSWER}<|im_end|>"),
        ("Qwen3", "trl", f"<think>\nWe add 7 and 5.\n</think>\n\n{ANSWER}<|im_end|>\n"),
        # The other message has no thinking, and both begin with the mark of it.
        ("Qwen3", "axolotl", f"\nWe add 7 and 5.\n</think>\n\n{ANSWER}<|im_end|>"),
        ("Llama-3.2", "axolotl", f"{ANSWER}<|eot_id|>"),
        ("Gemma-3", "llamafactory", f"{ANSWER}<end_of_turn>\n"),
        ("Gemma-3", "axolotl", ANSWER),
    ],
)
def test_each_trainer_trains_on_its_own_part_of_a_row(
    tmp_path: Path, name: str, trainer: Trainer, text: str
) -> None:
    student = load_student(write_student(tmp_path / "student", STUDENTS[name]))

    row = rendered(student, trainer)[0]

    assert with_loss(student, row) == text
    assert (row.stop is None) == text.endswith(ANSWER)


@pytest.mark.parametrize(
    ("prompt", "response", "left"),
    [
        pytest.param(30, 60, (30, 60, True), id="fits"),
        pytest.param(10, 200, (10, 90, False), id="short prompt: the response is cut"),
        pytest.param(200, 40, (60, 40, False), id="short response: the prompt is cut"),
        pytest.param(150, 150, (50, 50, False), id="both are long: both are cut"),
    ],
)
def test_llamafactory_cuts_the_longer_side(prompt: int, response: int, left: tuple[int, int, bool]) -> None:
    length = prompt + response
    row = Rendered("", 0, "", [0] * length, prompt, (Span(prompt, length),), length - 1, True)

    kept = cut(row, "llamafactory", 100)

    assert (kept.tokens - kept.loss_tokens, kept.loss_tokens, kept.keeps_stop) == left
