"""Settings: what stands beside the rows of a view, so that a trainer reads them as they are meant.

In: the recipe and a mix. Out: the texts of `train.py` (TRL), `dataset_info.json` and `<mix>.yaml` (LLaMA-Factory),
`<mix>.yaml` (axolotl). They hold what decides which tokens are trained on; learning rate and the like are the
person's. Where a trainer's own default would spoil long traces, a comment says so.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from mixdistill.recipe import Recipe

# The longest cutoff of the paper's YAMLs, and what their teachers could write.
MAX_LENGTH = 16_384

_TRL = '''\
"""Trains a student on one mix with TRL: python train.py {student} MIX OUT_FOLDER

Made for TRL 1.16. `mixdistill doctor` tells beforehand what TRL will make of every row.
"""

import sys
from pathlib import Path

import torch
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

student, mix, out = sys.argv[1:]
rows = Path(__file__).with_name(f"{{mix}}.prompt-completion.parquet")
settings = SFTConfig(
    output_dir=out,
    # TRL's default is 1024: it would cut nearly every long trace in front of its answer. None cuts nothing.
    max_length={max_length},
    # The question has no loss. It is TRL's default for these rows; the messages form has loss everywhere, unless
    # assistant_only_loss=True and the chat template marks what the assistant says.
    completion_only_loss=True,
    # Rows are ended by the chat template, not by TRL. If the template ends a turn with another token than the
    # tokenizer's eos_token (of many base models: "<|im_end|>"), name it here, or the student will not stop.
    eos_token=None,
    per_device_train_batch_size=1,
    gradient_accumulation_steps={batch_size},
    num_train_epochs=2,
    use_cpu=not torch.accelerator.is_available(),
)
trainer = SFTTrainer(
    model=student,
    args=settings,
    train_dataset=load_dataset("parquet", data_files=str(rows), split="train"),
)
trainer.train()
trainer.save_model(out)
'''

_LLAMAFACTORY = """\
# The data of one mix for LLaMA-Factory (0.9.5); in this folder: llamafactory-cli train {file}
# Add output_dir, finetuning_type, learning_rate and what else your training needs.
stage: sft
do_train: true
model_name_or_path: {student}
dataset_dir: .
dataset: {mix}
# LLaMA-Factory's name for the student's template; without one it is read off the tokenizer.
# template: qwen3
# The default is 2048: it would cut nearly every long trace.
cutoff_len: {max_length}
# true: where a template knows thinking, a row without any is trained to write an empty one. false removes all
# thinking from the rows.
enable_thinking: true
train_on_prompt: false
packing: false
per_device_train_batch_size: 1
gradient_accumulation_steps: {batch_size}
"""

_AXOLOTL = """\
# The data of one mix for axolotl (0.19); in this folder: axolotl train {file}
# Add output_dir, learning_rate, num_epochs, optimizer and what else your training needs.
base_model: {student}
# The student's own template. If it ends turns with another token than the tokenizer's eos_token, name that one:
# eot_tokens: ["<end_of_turn>"]
chat_template: tokenizer_default
datasets:
  - path: {rows}
    ds_type: parquet
    type: chat_template
    field_messages: messages
{reasoning}\
    roles_to_train: [assistant]
    train_on_eos: turn
# Longer rows are dropped.
sequence_len: {max_length}
sample_packing: false
train_on_inputs: false
micro_batch_size: 1
gradient_accumulation_steps: {batch_size}
"""

_APART = """\
    message_property_mappings: {{role: role, content: content, {field}: reasoning_content}}
    # What the template calls the reasoning. A template that knows no such field drops it. Marks that the template
    # writes around it, such as <think>, get no loss from axolotl: the student has to write them already.
    template_thinking_key: {field}
    field_thinking: reasoning_content
    split_thinking: false
"""

_INLINE = """\
    message_property_mappings: {role: role, content: content}
    # The student's template knows no field for reasoning: it stands in the content, and has to stay there.
    split_thinking: false
"""


def trl_script(recipe: Recipe) -> str:
    """A script that trains a student on one mix with TRL."""
    return _TRL.format(student="STUDENT", max_length=MAX_LENGTH, batch_size=recipe.mixing.batch_size)


def dataset_info(files: Mapping[str, str]) -> str:
    """LLaMA-Factory's list of datasets: of each mix the file, and how it is to be read."""
    tags = {
        "role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt",
        "observation_tag": "observation", "function_tag": "function_call", "system_tag": "system",
    }  # fmt: skip
    columns = {"messages": "conversations"}
    told = {
        mix: {"file_name": name, "formatting": "sharegpt", "columns": columns, "tags": tags}
        for mix, name in files.items()
    }
    return json.dumps(told, indent=2) + "\n"


def llamafactory_yaml(recipe: Recipe, mix: str) -> str:
    """The settings of a training on one mix with LLaMA-Factory, as far as they concern its rows."""
    return _LLAMAFACTORY.format(
        file=f"{mix}.yaml", mix=json.dumps(mix), student=_student(recipe), max_length=MAX_LENGTH,
        batch_size=recipe.mixing.batch_size,
    )  # fmt: skip


def axolotl_yaml(recipe: Recipe, mix: str, field: str | None) -> str:
    """The same for axolotl; `field` is what the template calls the reasoning, None: it stands in the content."""
    return _AXOLOTL.format(
        file=f"{mix}.yaml", rows=json.dumps(f"{mix}.parquet"), student=_student(recipe), max_length=MAX_LENGTH,
        batch_size=recipe.mixing.batch_size, reasoning=_APART.format(field=field) if field else _INLINE,
    )  # fmt: skip


def _student(recipe: Recipe) -> str:
    """The student as YAML; a template file is none."""
    student = recipe.mixing.student
    return json.dumps("your/student" if student is None or Path(student).is_file() else student)
