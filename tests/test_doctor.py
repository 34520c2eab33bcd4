"""The doctor: each planted fault is found and nothing else; a clean mix gives no finding."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from conftest import no_progress
from loopback_hub import LoopbackHub
from made_runs import make_problem, make_recipe, make_run, make_trace
from student_templates import (
    DEEPSEEK_R1_KEPT,
    QWEN3,
    STUDENTS,
    Student,
    write_student,
)

from mixdistill.builders.chat_template import reasoning_form
from mixdistill.builders.doctor import Diagnosis, examine
from mixdistill.builders.findings import Asked, Row, language, mid_sentence
from mixdistill.builders.mix import build_mixes
from mixdistill.builders.reasoning import INLINE, ReasoningForm, join_reasoning
from mixdistill.builders.rendering import Rendered
from mixdistill.builders.stats import compute_stats
from mixdistill.builders.student import load_student
from mixdistill.diagnosis import doctor
from mixdistill.errors import HubError, RecipeError, RecordError, StorageError
from mixdistill.files import write_json, write_parquet
from mixdistill.recipe import Recipe
from mixdistill.recipe_file import load_recipe
from mixdistill.records import Trainer
from mixdistill.run import Run
from mixdistill.street import STAGES, run_stage

_ARMS = ("long", "short")
_PER_ARM = 8
THINKS = ReasoningForm(field="reasoning_content")


class Made(NamedTuple):
    """A row to be made, before it is joined for a student."""

    number: int
    problem: str
    reasoning: str | None
    response: str
    answer: str


def made(number: int) -> Made:
    """A row in which nothing is wrong."""
    return Made(
        number,
        f"What is {number} + 2? Give the sum.",
        f"The user asks for a sum.\n\nFirst we add {number} and 2, which gives {number + 2}.",
        f"We add the two numbers. So the answer is \\boxed{{{number + 2}}}.",
        str(number + 2),
    )


def write_mixes(folder: Path, arms: Mapping[str, Sequence[Made]], form: ReasoningForm) -> Run:
    """A run that holds mixes with these rows, in one contrast."""
    run = Run(folder)
    for name, rows in arms.items():
        completions = [[join_reasoning(row.reasoning, row.response, form)] for row in rows]
        fields = ("role", form.field, "content") if form.field else ("role", "content")
        turn = pl.List(pl.Struct(dict.fromkeys(fields, pl.String())))
        frame = pl.DataFrame(
            {
                "problem_id": [f"p-{row.number}" for row in rows],
                "trace_id": [f"t-{name}-{place}" for place, row in enumerate(rows)],
                "answer": [row.answer for row in rows],
                "prompt": [[{"role": "user", "content": row.problem}] for row in rows],
                "completion": pl.Series(completions, dtype=turn),
            }
        )
        write_parquet(run.mixes / name / "train.parquet", frame)
        write_json(run.mixes / name / "mix.json", {"mix": name, "contrast": list(_ARMS), "rows": len(rows)})
    return run


def arms_of(rows: Sequence[Made]) -> dict[str, list[Made]]:
    """Both arms with the same rows, so that they are alike in tokens."""
    return {name: list(rows) for name in _ARMS}


def clean_rows() -> list[Made]:
    return [made(number) for number in range(_PER_ARM)]


def with_row(row: Made) -> dict[str, list[Made]]:
    """Both arms with this row in the place of their own."""
    return arms_of([row if own.number == row.number else own for own in clean_rows()])


def all_with(reasoning: str | None) -> dict[str, list[Made]]:
    """Both arms with this reasoning in all rows."""
    return arms_of([row._replace(reasoning=reasoning) for row in clean_rows()])


def more_rows(*rows: Made) -> dict[str, list[Made]]:
    """Both arms with these rows at their end."""
    return arms_of([*clean_rows(), *rows])


def recipe_for(**mixing: object) -> Recipe:
    more = {key: mixing.pop(key) for key in ("language",) if key in mixing}
    return make_recipe({"long": {"long": 1}, "short": {"short": 1}}, mixing=mixing, **more)


def told(diagnosis: Diagnosis) -> dict[str, tuple[str, int, int]]:
    """Severity, count and of how many, by the code of the finding."""
    return {finding.code: (finding.severity, finding.n, finding.of) for finding in diagnosis.findings}


def student_of(tmp_path: Path, name: str) -> tuple[str, str]:
    """The student as a folder, and what mixing.student is: R1 is trained with a template that keeps thinking."""
    folder = write_student(tmp_path / name, STUDENTS[name])
    if name != "DeepSeek-R1-Distill":
        return folder, folder
    template = tmp_path / "r1.jinja"
    template.write_text(DEEPSEEK_R1_KEPT, encoding="utf-8")
    return folder, str(template)


@pytest.mark.parametrize("trainer", ["trl", "llamafactory", "axolotl"])
@pytest.mark.parametrize("name", STUDENTS)
def test_a_clean_mix_has_no_finding_but_the_system_prompt_of_the_template(
    tmp_path: Path, name: str, trainer: Trainer
) -> None:
    student, mixed_for = student_of(tmp_path, name)
    run = write_mixes(tmp_path / "run", arms_of(clean_rows()), reasoning_form(mixed_for))

    diagnosis = examine(recipe_for(student=mixed_for), run, student=student, trainer=trainer)

    rows = 2 * _PER_ARM
    expected = {}
    if name in ("Qwen2.5", "Llama-3.2", "SmolLM2"):
        expected["system_prompt"] = ("warning", rows, rows)
    if (name, trainer) == ("Gemma-3", "axolotl"):  # its EOS is not what ends the turn
        expected["eos_not_trained"] = ("error", rows, rows)
    assert told(diagnosis) == expected
    assert diagnosis.max_length == STUDENTS[name].max_positions


def template(change: Callable[[str], str], name: str = "Qwen3") -> Student:
    changed = change(STUDENTS[name].template)
    assert changed != STUDENTS[name].template
    return STUDENTS[name]._replace(template=changed)


class Planted(NamedTuple):
    """A mix with one fault, for a student in which all else is well."""

    code: str
    n: int
    arms: Mapping[str, Sequence[Made]] = arms_of(clean_rows())
    excerpt: str = ""
    "Stands in the first example."
    severity: str = "error"
    of: int = 2 * _PER_ARM
    student: Student = STUDENTS["Qwen3"]
    form: ReasoningForm = THINKS
    max_length: int | None = None
    mixing: Mapping[str, object] = {}


ROW = made(3)
ENDS_TURN = "content.lstrip('\\n') + '<|im_end|>\\n'"
EXPLAINED = "The answer is \\boxed{5}. To see why, take three apples and two more. " + "We count them. " * 30
PLANTED = {
    "a trace longer than the limit": Planted(
        "cut", 2, with_row(ROW._replace(reasoning="First we add 3 and 2. " * 60)), "✂", max_length=300
    ),
    "thinking in a field that the template does not know": Planted(
        "reasoning_dropped", 16, excerpt="The user asks for a sum. First", student=STUDENTS["Gemma-3"]
    ),
    "a problem longer than the limit": Planted(
        "no_loss", 2, with_row(ROW._replace(problem="What is 3 + 2? " * 100)), "tokens of prompt", max_length=300
    ),
    "a template that leaves the answer out": Planted(
        "no_loss", 16, excerpt="tokens of prompt",
        student=STUDENTS["Qwen3"]._replace(
            template="{% for m in messages if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
    ),
    "a turn that nothing ends": Planted(
        "eos_not_trained", 16, excerpt="\\boxed{2}.",
        student=template(lambda text: text.replace(ENDS_TURN, "content + '\\n'")),
    ),
    "an end that generation does not stop at": Planted(
        "eos_not_trained", 16, student=STUDENTS["Gemma-3"]._replace(stops=("<eos>",)), form=INLINE
    ),
    "a prompt that merges with the answer": Planted(
        "join", 16, all_with(reasoning=None),
        "generation begins with ' '",
        student=STUDENTS["Qwen3"]._replace(
            template="{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}"
        ),
    ),
    "a prompt that generation goes on from elsewhere": Planted(
        "join", 16, excerpt="generation begins with 'Now:'",
        student=template(lambda text: text.replace("'<|im_start|>assistant\\n' }}\n    {%- if enable",
                                                   "'<|im_start|>assistant\\nNow:' }}\n    {%- if enable")),
    ),
    "a response that begins with its answer": Planted(
        "answer_first", 2, with_row(ROW._replace(reasoning=None, response=EXPLAINED)), "The answer is", "warning"
    ),
    "a response that begins with its answer, without a box": Planted(
        "answer_first", 2, with_row(ROW._replace(reasoning=None, response=EXPLAINED.replace("\\boxed{5}", "5"))),
        "The answer is 5", "warning",
    ),
    "a template that writes the thinking behind the answer": Planted(
        "answer_first", 16, excerpt="We add the two numbers", severity="warning",
        student=STUDENTS["Qwen3"]._replace(
            template="{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{{ m.reasoning_content }}"
            "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
    ),
    "a template that loses the answer": Planted(
        "response_dropped", 16, excerpt="So",
        student=template(lambda text: text.replace(ENDS_TURN, "content.split('So')[0] + '<|im_end|>\\n'")),
        arms=all_with(reasoning="We add."),
    ),
    "an answer that the row does not have": Planted("answer_missing", 2, with_row(ROW._replace(answer="999"))),
    "a response with the token that ends turns": Planted(
        "special_tokens", 2, with_row(ROW._replace(response="So <|im_end|> it is \\boxed{5}.")), "So <|im_end|> it"
    ),
    "a problem with a token": Planted("special_tokens", 2, with_row(ROW._replace(problem="<|im_start|>3 + 2?"))),
    "reasoning with the mark that ends it": Planted(
        "special_tokens", 2, with_row(ROW._replace(reasoning="I write </think> and go on.")), "I write </think>"
    ),
    "a row twice": Planted(
        "duplicates", 2, more_rows(ROW), "What is 3 + 2?",
        "warning", of=18,
    ),
    "a problem twice": Planted(
        "same_problem", 2,
        more_rows(ROW._replace(response="It is \\boxed{5}.")), "What is 3 + 2?", of=18,
    ),
    "a problem once too often": Planted(
        "same_problem", 2,
        more_rows(*(ROW._replace(response=f"{how} \\boxed{{5}}.") for how in ("It is", "So it is"))),
        of=20, mixing={"per_problem": 2},
    ),
    "a choice that is cut": Planted(
        "mid_sentence", 2, severity="warning",
        arms=with_row(ROW._replace(answer="B", response="Option B is it. But then we might be at the")),
    ),
    "code that is never closed": Planted(
        "mid_sentence", 2, with_row(ROW._replace(response="It is \\boxed{5}.\n```python\nprint(2 + 3)")),
        severity="warning",
    ),
    "a box that is never closed": Planted(
        "mid_sentence", 2, with_row(ROW._replace(response="It is 5, or \\boxed{\\frac{10}{2}")),
        severity="warning",
    ),
    "an answer that stands only inside another number": Planted(
        "answer_missing", 2, with_row(ROW._replace(answer="7", reasoning=None, response="So we have 17 apples."))
    ),
    "a trace that changes to Chinese": Planted(
        "language", 2, with_row(ROW._replace(reasoning="We add. 因此我们得到五。")), "因此我们得到五", "warning"
    ),
    "English traces where Russian was asked for": Planted(
        "language", 16, severity="warning", mixing={"language": "ru"}
    ),
    "a trace cut amid a sentence": Planted(
        "mid_sentence", 2, with_row(ROW._replace(response="So it is \\boxed{5}. But then we might look at the")),
        "we might look at the", "warning",
    ),
    "a template that refuses a row": Planted(
        "refused", 2, with_row(ROW._replace(problem="What is it?")), "TemplateError: no",
        student=template(lambda text: "{% if messages[0].content == 'What is it?' %}{{ raise_exception('no') }}"
                                      "{% endif %}" + text),
    ),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_the_only_finding(tmp_path: Path, planted: Planted) -> None:
    student = write_student(tmp_path / "student", planted.student)
    run = write_mixes(tmp_path / "run", planted.arms, planted.form)

    diagnosis = examine(recipe_for(student=student, **planted.mixing), run, max_length=planted.max_length)

    assert told(diagnosis) == {planted.code: (planted.severity, planted.n, planted.of)}
    (finding,) = diagnosis.findings
    assert len(finding.examples) == min(planted.n, 3)
    assert planted.excerpt in finding.examples[0].excerpt
    assert sum(finding.by_arm.values()) == planted.n


def test_a_template_that_drops_thinking_and_opens_it_in_the_prompt_is_found_out(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", STUDENTS["DeepSeek-R1-Distill"])
    run = write_mixes(tmp_path / "run", arms_of(clean_rows()), INLINE)

    diagnosis = examine(recipe_for(), run, student=student)

    assert told(diagnosis) == {"reasoning_dropped": ("error", 16, 16), "join": ("error", 16, 16)}
    assert (
        diagnosis.findings[1].examples[0].excerpt.startswith("generation begins with '<think>\\n', the row has ")
    )


def test_a_row_that_loses_no_more_than_the_line_break_behind_its_end_is_a_warning(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", STUDENTS["Qwen3"])
    run = write_mixes(
        tmp_path / "run", with_row(ROW._replace(problem="What is 3 + 2? Give the whole sum.")), THINKS
    )
    longest = examine(recipe_for(student=student), run).arms[0].longest

    one_less = examine(recipe_for(student=student), run, max_length=longest - 1)
    two_less = examine(recipe_for(student=student), run, max_length=longest - 2)

    assert told(one_less) == {"cut": ("warning", 2, 16)}
    assert told(two_less) == {"cut": ("error", 2, 16)}
    assert one_less.findings[0].detail.startswith("trl keeps their first tokens and says nothing: 2 tokens beyond")


@pytest.mark.parametrize(
    ("trainer", "rows", "detail"),
    [
        ("trl", 8, "trl keeps their first tokens and says nothing"),
        ("llamafactory", 8, "llamafactory cuts the prompt, the response or both"),
        ("axolotl", 7, "axolotl drops them"),
    ],
)
def test_each_trainer_has_its_own_way_with_long_rows(
    tmp_path: Path, trainer: Trainer, rows: int, detail: str
) -> None:
    student = write_student(tmp_path / "student", STUDENTS["Qwen3"])
    run = write_mixes(tmp_path / "run", with_row(ROW._replace(reasoning="First we add 3 and 2. " * 60)), THINKS)

    diagnosis = examine(recipe_for(student=student), run, trainer=trainer, max_length=300)

    assert told(diagnosis) == {"cut": ("error", 2, 16)}
    assert diagnosis.findings[0].detail.startswith(detail)
    assert [arm.trained_rows for arm in diagnosis.arms] == [rows, rows]


SHORTER = all_with(reasoning="We add.")["short"]


@pytest.mark.parametrize(
    ("match", "short", "expected"),
    [
        ("none", clean_rows()[:6], {"steps_differ": "warning", "tokens_differ": "warning"}),
        ("steps", clean_rows()[:6], {"steps_differ": "error", "tokens_differ": "warning"}),
        ("problems", SHORTER,
         {"tokens_differ": "warning"}),
        ("tokens", SHORTER,
         {"tokens_differ": "error"}),
        ("tokens", clean_rows(), {}),
    ],
)  # fmt: skip
def test_arms_that_differ_are_an_error_where_the_recipe_says_they_match(
    tmp_path: Path, match: str, short: list[Made], expected: dict[str, str]
) -> None:
    student = write_student(tmp_path / "student", STUDENTS["Qwen3"])
    run = write_mixes(tmp_path / "run", {"long": clean_rows(), "short": short}, THINKS)

    diagnosis = examine(recipe_for(student=student, match=match), run, batch_size=1)

    assert {finding.code: finding.severity for finding in diagnosis.findings} == expected
    assert all(finding.by_arm == {"short": 1} for finding in diagnosis.findings)


def test_the_figures_of_an_arm_are_counted_in_the_tokens_of_the_student(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", STUDENTS["Qwen3"])
    run = write_mixes(tmp_path / "run", arms_of(clean_rows()), THINKS)
    loaded = load_student(student)
    lengths: list[int] = []
    prompts: list[int] = []
    for row in clean_rows():
        turns: list[dict[str, str]] = [{"role": "user", "content": row.problem}]
        ask = loaded.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        turns += [{"role": "assistant", "content": row.response, "reasoning_content": str(row.reasoning)}]
        whole = loaded.tokenizer.apply_chat_template(turns, tokenize=False)
        for text, counts in ((ask, prompts), (whole, lengths)):
            counts.append(len(loaded.tokenizer.encode(str(text), add_special_tokens=False)))

    arm = examine(recipe_for(student=student), run, batch_size=3).arms[0]

    assert (arm.arm, arm.rows, arm.trained_rows, arm.steps) == ("long", 8, 8, 3)
    assert (arm.tokens, arm.loss_tokens) == (sum(lengths), sum(lengths) - sum(prompts))
    assert (arm.p50, arm.p99, arm.longest) == (sorted(lengths)[3], max(lengths), max(lengths))


def test_the_text_that_the_template_adds_is_told(tmp_path: Path) -> None:
    qwen, llama = (write_student(tmp_path / name, STUDENTS[name]) for name in ("Qwen2.5", "Llama-3.2"))
    run = write_mixes(tmp_path / "run", arms_of(clean_rows()), INLINE)

    details = [examine(recipe_for(), run, student=student).findings[0].detail for student in (qwen, llama)]

    assert details[0] == "The text: 'You are a test of a helpful assistant.'."
    assert details[1].startswith("The text: 'What is known ends in: 2023\\nDay: ")
    assert details[1].endswith(" It holds the day on which it is rendered.")


def test_a_mix_that_was_made_for_the_student_has_no_finding(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", STUDENTS["Qwen3"])
    problems = [make_problem(number) for number in range(10, 30)]
    traces = [make_trace(problem, style, style) for problem in problems for style in ("long", "short")]
    run = make_run(tmp_path / "run", problems, traces)
    references = {problem.problem_id: problem.reference for problem in problems}
    verdicts = pl.read_parquet(run.verdicts)
    write_parquet(run.verdicts, verdicts.with_columns(answer=pl.col("problem_id").replace(references)))
    recipe = recipe_for(student=student, match="none")
    compute_stats(recipe, run)
    build_mixes(recipe, run, lambda *_: None)

    diagnosis = examine(recipe, run)

    assert {finding.code for finding in diagnosis.findings} <= {"tokens_differ"}  # "short" is one token more
    assert [arm.rows for arm in diagnosis.arms] == [20, 20]


def test_a_student_that_pads_with_its_end_is_noted_and_is_no_fault(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", STUDENTS["DeepSeek-R1-Distill"])
    (tmp_path / "r1.jinja").write_text(DEEPSEEK_R1_KEPT, encoding="utf-8")
    run = write_mixes(tmp_path / "run", arms_of(clean_rows()), INLINE)

    diagnosis = examine(recipe_for(student=str(tmp_path / "r1.jinja")), run, student=student)

    assert diagnosis.findings == ()
    assert [note.partition(".")[0] for note in diagnosis.notes] == ["The student pads with its EOS"]


def test_rows_beyond_the_limit_that_the_trainer_has_by_default_are_noted(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", STUDENTS["Qwen3"])
    run = write_mixes(tmp_path / "run", with_row(ROW._replace(reasoning="First we add 3 and 2. " * 200)), THINKS)

    diagnosis = examine(recipe_for(student=student), run)

    assert diagnosis.findings == ()
    assert diagnosis.notes == (
        "2 of 16 rows are longer than 1,024 tokens, the limit of trl where none is set; set max_length of "
        "SFTConfig to 40960.",
    )


def test_what_is_missing_is_named_with_the_way_out(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", STUDENTS["Qwen3"])
    template_file = tmp_path / "mine.jinja"
    template_file.write_text(QWEN3, encoding="utf-8")
    run = Run(tmp_path / "run")

    with pytest.raises(RecipeError, match=r"^no student .* set mixing\.student, or name one with --student$"):
        examine(recipe_for(), run)
    with pytest.raises(RecipeError, match=r"mine\.jinja, which has no tokenizer; name the student's folder"):
        examine(recipe_for(student=str(template_file)), run)
    with pytest.raises(StorageError, match=r"mix\.json: not there yet; run 'mixdistill mix'"):
        examine(recipe_for(student=student), run)
    for name in _ARMS:
        write_json(run.mixes / name / "mix.json", {"contrast": list(_ARMS), "rows": 1})
    with pytest.raises(StorageError, match=r"train\.parquet: not there yet; run 'mixdistill mix' first$"):
        examine(recipe_for(student=student), run)
    (run.mixes / "long" / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordError, match=r"train\.parquet: not the rows of a mix; remove it and run"):
        examine(recipe_for(student=student), run)
    (tmp_path / "student" / "chat_template.jinja").unlink()
    with pytest.raises(RecipeError, match=r"has no chat template, .* set mixing\.student to a file with one$"):
        examine(recipe_for(student=student), run)


def test_a_student_that_cannot_be_loaded_is_named(tmp_path: Path, hub: LoopbackHub) -> None:
    (tmp_path / "student").mkdir()
    with pytest.raises(HubError, match=r"^student: tester/none: no such folder, file or model on the Hub"):
        examine(recipe_for(), Run(tmp_path), student="tester/none")
    with pytest.raises(RecordError, match=r"student: its tokenizer cannot be read: "):
        examine(recipe_for(), Run(tmp_path), student=str(tmp_path / "student"))


def test_the_command_exits_with_1_for_errors_only(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", STUDENTS["Qwen2.5"])
    folder = write_mixes(tmp_path / "run", arms_of(clean_rows()), INLINE).folder
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(recipe_for(student=student).model_dump(mode="json", exclude_defaults=True)))
    stage = replace(STAGES["mix"], work=lambda recipe, run, progress: {})
    run_stage(stage, load_recipe(str(recipe)), Run(folder), no_progress)

    stale = CliRunner().invoke(doctor, [str(recipe), "--run", str(folder), "--set", "mixing.order=short_first"])
    assert str(stale.exception).endswith("mixes: not what the recipe says; run 'mixdistill mix' first")
    planned = CliRunner().invoke(doctor, [str(recipe), "--run", str(folder), "--dry-run", "--json"])
    assert json.loads(planned.stdout) == {"student": student, "trainer": "trl", "rows": {"long": 8, "short": 8}}
    warned = CliRunner().invoke(doctor, [str(recipe), "--run", str(folder)])
    failed = CliRunner().invoke(doctor, [str(recipe), "--run", str(folder), "--max-length", "100", "--json"])

    assert warned.exit_code == 0
    assert "warning: 16 of 16 rows before which the template puts text of its own" in warned.stdout
    assert str(failed.exception) == "findings that would spoil the training: 1; each names its way out"
    told_as_json = json.loads(failed.stdout)
    assert [finding["code"] for finding in told_as_json["findings"]] == ["cut", "system_prompt"]
    assert told_as_json["findings"][0]["examples"][0].keys() == {"problem_id", "trace_id", "arm", "excerpt"}
    assert told_as_json["errors"] == 1


@pytest.mark.parametrize(
    "response",
    [
        "The sum is 5, and that is all 🎉", "Well done 👍🏽", "पाँच ही उत्तर है, और यही सब है।",
        "الجواب هو خمسة، أليس كذلك؟",
        "ดังนั้นคำตอบคือห้า", "The steps:\n1. add 3 and 2\n2. write the sum down", "See https://example.org/sums",
        "It is A", "so x = 5 and y is what we know\n```python\nprint(5)\n```",
    ],
)  # fmt: skip
def test_an_end_that_is_no_cut_is_no_finding(response: str) -> None:
    row = Row("long", "p", "t", "A" if response.endswith("A") else "5", (), (), None, response)

    assert mid_sentence(row, cast("Rendered", None), Asked("en", None)) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [("两个数相加得到五。\n```python\nfor number in range(10):\n    print(number + total)\n```", "zh"),
     ("The word 謝謝你們 means thanks.", "en")],
)  # fmt: skip
def test_code_and_a_quoted_word_are_no_other_language(text: str, code: str) -> None:
    row = Row("long", "p", "t", "5", (), (), None, text)

    assert language(row, cast("Rendered", None), Asked(code, None)) is None
