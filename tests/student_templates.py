"""Students to render for: chat templates that behave as those of well-known models do, with small tokenizers.

In: one of STUDENTS. Out: a folder that transformers loads as it loads the model's own. Templates, system prompts
and sentences are our own writing; the special tokens, and what a template adds, drops and trims, are as the model
has them. The tokenizer is a byte-level BPE, learned here from a few sentences; the configuration is that of a
model so small that a test can train it.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

QWEN25 = r"""
{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\nYou are a test of a helpful assistant.<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
"A system prompt of its own where there is none; thinking is text like any other."

QWEN3 = r"""
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].split('<think>')[-1] %}
            {%- set reasoning_content = thought.strip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- if loop.index0 > ns.last %}
            {{- '<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' }}
        {%- endif %}
        {{- content.lstrip('\n') + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}
"""
"""Knows a field, and takes thinking out of the content; keeps that of the last turn, and writes an empty one
where there is none."""

LLAMA32 = r"""
{{- bos_token }}
{%- set today = strftime_now('%d %b %Y') if strftime_now is defined else '01 Jan 2026' %}
{%- set given = messages[0].role == 'system' %}
{{- '<|start_header_id|>system<|end_header_id|>\n\nWhat is known ends in: 2023\nDay: ' + today + '\n\n' }}
{{- (messages[0].content | trim if given else '') + '<|eot_id|>' }}
{%- for message in (messages[1:] if given else messages) %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}
"""
"Begins with a mark and a system prompt that holds the date; trims."

SMOLLM2 = QWEN25.replace("a test of a helpful assistant", "a small model made for tests")
"Another system prompt of its own."

GEMMA3 = r"""
{{- bos_token }}
{%- set given = messages[0].role == 'system' %}
{%- for message in (messages[1:] if given else messages) %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('user and assistant must take turns') }}
    {%- endif %}
    {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}
    {{- messages[0].content + '\n\n' if given and loop.first else '' }}
    {{- message.content | trim + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\n' }}{%- endif %}
"""
"No system turn: it goes before the first question. The role is called model; turns alternate; trims."

DEEPSEEK_R1 = r"""
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'system' %}{{- message.content }}
    {%- elif message.role == 'user' %}{{- '<｜User｜>' + message.content }}
    {%- else %}{{- '<｜Assistant｜>' + message.content.split('</think>')[-1] + eos_token }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\n' }}{%- endif %}
"""
"Drops thinking from every turn, and opens it where the student is to write."

DEEPSEEK_R1_KEPT = DEEPSEEK_R1.replace(".split('</think>')[-1]", "").replace("<think>\\n", "")
"What a person makes of it to train on thinking."


class Student(NamedTuple):
    """A model's manner of reading a conversation."""

    template: str
    special: tuple[str, ...]
    "Special tokens, all that the tokenizer has."
    bos: str | None
    eos: str
    pad: str | None
    stops: tuple[str, ...]
    "What generation ends at."
    model_type: str
    max_positions: int
    plain: tuple[str, ...] = ()
    "Tokens of their own that are not special: they survive decoding."


_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_THINK = ("<think>", "</think>")
_LLAMA = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_GEMMA = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
_R1 = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")

STUDENTS = {
    "Qwen2.5": Student(QWEN25, _CHATML, None, "<|im_end|>", "<|endoftext|>",
                       ("<|im_end|>", "<|endoftext|>"), "qwen2", 32_768),
    "Qwen3": Student(QWEN3, _CHATML, None, "<|im_end|>", "<|endoftext|>",
                     ("<|im_end|>", "<|endoftext|>"), "qwen3", 40_960, _THINK),
    "Llama-3.2": Student(LLAMA32, _LLAMA, "<|begin_of_text|>", "<|eot_id|>", None,
                         ("<|end_of_text|>", "<|eot_id|>"), "llama", 131_072),
    "SmolLM2": Student(SMOLLM2, _CHATML, "<|im_start|>", "<|im_end|>", "<|im_end|>",
                       ("<|im_end|>",), "llama", 8_192),
    "Gemma-3": Student(GEMMA3, _GEMMA, "<bos>", "<eos>", "<pad>",
                       ("<eos>", "<end_of_turn>"), "gemma3_text", 32_768),
    "DeepSeek-R1-Distill": Student(DEEPSEEK_R1, _R1, _R1[0], _R1[1], _R1[1],
                                   (_R1[1],), "qwen2", 131_072, _THINK),
}  # fmt: skip

_SENTENCES = (
    "What is 7 + 5? Let me think about it step by step.",
    "First we add 7 and 5, which gives 12. So the answer is \\boxed{12}.",
    "There are 25 apples in 5 boxes, so each box has 25 / 5 = 5 apples.",
    "Wait, that is not right. Let me check: 3 * 4 = 12, and 12 - 2 = 10.",
    "Therefore, the sum of the first ten numbers is \\frac{10 \\cdot 11}{2} = 55.",
    "The user asks for the number of ways. We multiply, and then we divide by two.",
    "system user assistant model thinking reasoning answer problem solution\n\n",
)


def write_student(folder: Path, student: Student) -> str:
    """The student as a folder; returns its name."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(student.special, student.plain)
    ids = {token: number for number, token in enumerate((*student.special, *student.plain))}
    size = 8 * (len(json.loads(tokenizer)["model"]["vocab"]) // 8 + 1)
    config = {
        "model_type": student.model_type, "vocab_size": size, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "max_position_embeddings": student.max_positions, "tie_word_embeddings": True,
        "bos_token_id": ids.get(student.bos or ""), "eos_token_id": ids[student.eos],
    }  # fmt: skip
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": student.bos, "eos_token": student.eos,
        "pad_token": student.pad, "model_max_length": student.max_positions, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    for name, text in {
        "chat_template.jinja": student.template,
        "config.json": json.dumps(config),
        "generation_config.json": json.dumps({"eos_token_id": [ids[stop] for stop in student.stops]}),
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": json.dumps(tokenizer_config),
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


@cache
def _tokenizer(special: tuple[str, ...], plain: tuple[str, ...]) -> str:
    """tokenizer.json of a byte-level BPE with these tokens; special ones have the first ids."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # As these models have it, line breaks are apart from what follows: a prompt that ends on them joins.
    words = Regex(r"\s*[\r\n]+|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    into_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "isolated"), into_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*special, *plain], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(_SENTENCES * 3, trainer)
    told = json.loads(tokenizer.to_str())
    for token in told["added_tokens"]:
        token["special"] = token["content"] in special
    return json.dumps(told)
