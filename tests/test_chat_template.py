"""How a student wants the reasoning: templates in the manner of those that models ship."""

import json
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from student_templates import DEEPSEEK_R1, GEMMA3, LLAMA32, QWEN3, QWEN25, SMOLLM2

from mixdistill.builders.chat_template import reasoning_form
from mixdistill.builders.reasoning import INLINE, ReasoningForm
from mixdistill.builders.template_process import ChatTemplate, render_apart
from mixdistill.errors import HubError, RecipeError, RecordError

QWEN3_INLINE = QWEN3.replace("message.reasoning_content is string", "false")
"Qwen3 without the field."

SEED = (
    "{% for m in messages %}<seed:bos>{{ m.role }}\n{% if m.reasoning_content is string %}"
    "<seed:think>{{ m.reasoning_content | trim }}</seed:think>{% endif %}{{ m.content }}<seed:eos>{% endfor %}"
)
"Knows a field, and would keep <think> in the content as text."

SMOLLM3 = (
    "Put your thoughts between <think> and </think>.\n{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% generation %}<|im_start|>assistant\n{{ m.content.lstrip('\n') }}<|im_end|>\n{% endgeneration %}"
    "{% else %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
)
"Says the marks itself, beforehand; its own tag says what to train on."

MAGISTRAL = "Think in [THINK]...[/THINK].{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"
"Other marks."

NEMOTRON = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<SPECIAL_11>Assistant\n<think>\n\n{% else %}"
    "<SPECIAL_11>User\n{% endif %}{{ m.content.strip() }}\n{% endfor %}"
)
"Opens the thinking of the last turn itself."

GEMMA4 = (
    "{% macro without(text) %}{% for part in text.split('<channel|>') %}{{ part.split('<|channel>')[0] }}"
    "{% endfor %}{% endmacro %}{% for m in messages %}<|turn>{{ m.role }}\n{{ without(m.content) }}<turn|>\n"
    "{% endfor %}"
)
"Drops its own marks, knows no others."

GPT_OSS = (
    "{%- for m in messages %}{%- if m.role == 'assistant' %}"
    "{%- if '<|channel|>' in m.content %}{{- raise_exception('no channels in the content') }}{%- endif %}"
    "{%- if 'thinking' in m %}{{- '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}"
    "{%- endif %}{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}"
    "{%- else %}{{- '<|start|>user<|message|>' + m.content + '<|end|>' }}{%- endif %}{%- endfor %}"
)
"Another field, which must hold a text wherever it is there."


def student(folder: Path, template: str) -> str:
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("template", "form"),
    [
        pytest.param(QWEN25, INLINE, id="Qwen2.5"),
        pytest.param(LLAMA32, INLINE, id="Llama-3.2"),
        pytest.param(SMOLLM2, INLINE, id="SmolLM2"),
        pytest.param(GEMMA3, INLINE, id="Gemma-3"),
        pytest.param(QWEN3, ReasoningForm(field="reasoning_content"), id="Qwen3"),
        pytest.param(QWEN3_INLINE, INLINE, id="Qwen3 without the field"),
        pytest.param(SEED, ReasoningForm(field="reasoning_content"), id="Seed-OSS"),
        pytest.param(
            SEED.replace("reasoning_content", "reasoning"), ReasoningForm(field="reasoning"), id="another field"
        ),
        pytest.param(SMOLLM3, INLINE, id="SmolLM3"),
        pytest.param("Tools: None. " + SEED, ReasoningForm(field="reasoning_content"), id="says None itself"),
        pytest.param(
            SEED.replace("m.reasoning_content is string", "'reasoning_content' in m"),
            ReasoningForm(opener="<seed:think>\n", closer="\n</seed:think>\n\n"),
            id="would write None",
        ),
        pytest.param(MAGISTRAL, ReasoningForm(opener="[THINK]\n", closer="\n[/THINK]\n\n"), id="Magistral"),
        pytest.param(NEMOTRON, ReasoningForm(opener="", closer="\n</think>\n\n"), id="Nemotron"),
        pytest.param(GEMMA4, INLINE, id="Gemma 4"),
        pytest.param(GPT_OSS, INLINE, id="gpt-oss, some traces without reasoning"),
    ],
)
def test_the_form_is_the_first_that_the_template_keeps(tmp_path: Path, template: str, form: ReasoningForm) -> None:
    assert reasoning_form(student(tmp_path, template)) == form


def test_where_every_trace_has_reasoning_the_field_need_not_be_empty(tmp_path: Path) -> None:
    assert reasoning_form(student(tmp_path, GPT_OSS), all_reason=True) == ReasoningForm(field="thinking")


def test_without_a_student_reasoning_stands_in_think() -> None:
    assert reasoning_form(None) == INLINE


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(DEEPSEEK_R1, id="drops thinking"),
        pytest.param("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", id="says all twice"),
        pytest.param("{% for m in messages %}", id="no template"),
        pytest.param("{{ raise_exception('no') }}", id="refuses"),
        pytest.param("Hello", id="has no messages"),
        pytest.param("{{ messages.__class__.__mro__ }}{{ messages[1].content }}", id="leaves the sandbox"),
        pytest.param("{% set _ = messages.append(1) %}{{ messages[1].content }}", id="changes the messages"),
        pytest.param("{{ range(10 ** 9) | list }}", id="takes all memory"),
        pytest.param("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", id="calls itself for ever"),
        pytest.param("{% for a in [1] %}" * 30 + "{{ messages }}" + "{% endfor %}" * 30, id="is nested too deep"),
        pytest.param("{{ 'x' * 3_000_000_000 }}{{ messages[1].content }}", id="writes more than memory"),
        pytest.param("{{ 'x' * 9_000_000 }}{{ messages[1].content }}", id="writes more than a model reads"),
    ],
)
def test_a_template_that_keeps_reasoning_in_no_form_is_refused(tmp_path: Path, template: str) -> None:
    name = student(tmp_path, template)

    with pytest.raises(RecipeError) as refused:
        reasoning_form(name)

    assert str(refused.value) == (
        f"mixing.student: the chat template of {name} drops the reasoning, so that the student would not be "
        "trained on it; name a file with a template that keeps it, or another student"
    )


def test_a_template_that_never_ends_is_ended(tmp_path: Path) -> None:
    rounds = "{% for a in range(99999) %}"
    name = student(tmp_path, SEED + rounds * 3 + "{% endfor %}" * 3)

    with pytest.raises(RecipeError) as refused:
        reasoning_form(name)

    assert str(refused.value) == (
        f"mixing.student: {name}: its chat template comes to no end within 3 seconds, or takes all memory; name a "
        "file with another template, or another student"
    )


def test_conversations_are_rendered_in_their_order_and_none_is_one_that_is_refused() -> None:
    text = (
        "{{ bos }}{% for m in messages %}{% if not m.content %}{{ raise_exception('empty') }}{% endif %}"
        "{{ m.role }}: {{ m.content | tojson }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    conversations = [[{"role": "user", "content": content}] for content in ("é \u2028", "", "\ud800")]

    texts = render_apart(
        ChatTemplate(text, {"bos": "<s>"}), conversations, whose="tester/one", add_generation_prompt=True
    )

    assert texts == ['<s>user: "é \u2028"\nassistant:', None, '<s>user: "\ud800"\nassistant:']


def test_a_template_in_the_configuration_is_read_with_its_tokens(tmp_path: Path) -> None:
    config = {
        "bos_token": {"__type": "AddedToken", "content": "<s>"},
        "eos_token": None,
        "chat_template": [
            {"name": "tool_use", "template": DEEPSEEK_R1},
            {"name": "default", "template": "{{ bos_token + eos_token }}" + SEED},
        ],
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")

    assert reasoning_form(str(tmp_path)).field == "reasoning_content"


def test_a_template_file_goes_before_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": DEEPSEEK_R1}), encoding="utf-8")

    assert reasoning_form(student(tmp_path, SEED)).field == "reasoning_content"


def test_a_file_with_a_template_is_a_student(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(SEED, encoding="utf-8")

    assert reasoning_form(str(path)).field == "reasoning_content"


def test_a_student_without_a_template_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")

    with pytest.raises(
        RecipeError, match=r"has no chat template; name a file with one, or leave mixing\.student out"
    ):
        reasoning_form(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "told"), [(b"{", "not JSON"), (b"[1]", "not a JSON object"), (b"\xff", "utf-8")]
)
def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "tokenizer_config.json").write_bytes(content)

    with pytest.raises(RecordError, match=rf"tokenizer_config.json: .*{told}"):
        reasoning_form(str(tmp_path))


def test_a_template_is_read_from_the_hub(hub: LoopbackHub) -> None:
    hub.put("tester/qwen", {"chat_template.jinja": QWEN3.encode(), "tokenizer_config.json": b"{}"}, kind="models")
    hub.put("tester/r1", {"tokenizer_config.json": json.dumps({"chat_template": SEED}).encode()}, kind="models")

    assert reasoning_form("tester/qwen").field == "reasoning_content"
    assert reasoning_form("tester/r1").field == "reasoning_content"


def test_a_student_that_the_hub_does_not_have_is_a_hub_error(hub: LoopbackHub) -> None:
    with pytest.raises(HubError, match=r"^mixing.student: tester/none: no such folder, file or model on the Hub"):
        reasoning_form("tester/none")
    with pytest.raises(HubError, match=r"^mixing.student: not/a/name: no such folder, file or model on the Hub"):
        reasoning_form("not/a/name")
