"""Views: what trainers make of the exported files is what the mix holds."""

import dataclasses
import json
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from made_runs import make_problem, make_recipe, make_run, silent
from student_templates import DEEPSEEK_R1_KEPT, STUDENTS, write_student

from mixdistill.builders.mix import build_mixes
from mixdistill.builders.stats import compute_stats
from mixdistill.builders.views import export_mixes
from mixdistill.errors import RecordError, StorageError
from mixdistill.recipe import Recipe
from mixdistill.records import Trace, Trainer, trace_id
from mixdistill.run import Run

# TRL 1.16 sets what transformers 5.24 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers", "ignore::FutureWarning:trl")
N = 6
PROBLEMS = [make_problem(number) for number in range(N)]
MIXES = {"long": {"long": 1.0}, "mix": {"long": 0.5, "short": 0.5}}
THOUGHT = 'First we add. The mark "</think>" ends a thought.\n\nSo it is {}.'


def trace(number: int, teacher: Any) -> Trace:
    problem = PROBLEMS[number]
    thought = THOUGHT.format(problem.reference) if teacher == "long" else None
    response = f"The answer é is \\boxed{{{problem.reference}}}."
    key = f"r-{teacher}-{number}"
    return Trace(
        trace_id=trace_id(key, thought, response, "stop"), problem_id=problem.problem_id, teacher=teacher,
        model="m", style=teacher, sample=0, prompt=({"role": "user", "content": problem.problem},),
        reasoning=thought, response=response, finish_reason="stop", request_key=key,
    )  # fmt: skip


def mixed(folder: Path, student: str | None = None, mixes: Mapping[str, Any] = MIXES) -> tuple[Recipe, Run]:
    """A run with mixes of traces that think (long) and such that do not (short)."""
    recipe = make_recipe(mixes, mixing={"student": student, "batch_size": N})
    run = make_run(folder, PROBLEMS, [trace(number, style) for number in range(N) for style in ("long", "short")])
    compute_stats(recipe, run)
    build_mixes(recipe, run, silent)
    return recipe, run


def student(folder: Path, name: str) -> str:
    made = STUDENTS[name]
    if name == "DeepSeek-R1-Distill":  # its own template drops all thinking
        made = made._replace(template=DEEPSEEK_R1_KEPT)
    return write_student(folder / name, made)


def with_weights(student: str) -> str:
    """The same student, with random weights."""
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = transformers.AutoConfig.from_pretrained(student)
    models: Any = transformers.AutoModelForCausalLM
    models.from_config(config).save_pretrained(student)
    return student


def parts_of(rows: pl.DataFrame) -> dict[str, tuple[str | None, str]]:
    """Reasoning and response of each row, from its trace."""
    traces = {
        made.trace_id: made for number in range(N) for made in (trace(number, "long"), trace(number, "short"))
    }
    return {name: (traces[name].reasoning, traces[name].response) for name in rows["trace_id"]}


@pytest.mark.parametrize("name", STUDENTS)
def test_trl_trains_on_the_completion_and_the_end_of_its_turn_and_on_nothing_else(
    name: str, tmp_path: Path
) -> None:
    trl = pytest.importorskip("trl")
    import datasets

    path = with_weights(student(tmp_path, name))
    recipe, run = mixed(tmp_path / "run", path)
    counts = export_mixes(recipe, run, "trl", tmp_path / "out")

    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "out" / "mix.prompt-completion.parquet"),
        split="train", cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    settings = trl.SFTConfig(output_dir=str(tmp_path / "t"), max_length=None, use_cpu=True, report_to="none")
    trainer = trl.SFTTrainer(model=path, args=settings, train_dataset=rows)

    assert counts == {f"{mix}.{form}.parquet": N for mix in MIXES for form in ("prompt-completion", "messages")}
    tokenizer = trainer.processing_class
    learned = [
        tokenizer.decode([token for token in row["labels"] if token != -100]) for row in trainer.train_dataset
    ]
    for text, (reasoning, response) in zip(learned, parts_of(pl.DataFrame(rows.to_list())).values(), strict=True):
        end = STUDENTS[name].stops[-1 if "Gemma" in name or "Llama" in name else 0]
        thought = f"<think>\n{reasoning}\n</think>\n\n" if reasoning else ""
        if name == "Qwen3" and not reasoning:  # its template writes an empty one
            thought = "<think>\n\n</think>\n\n"
        assert text.removesuffix("\n") == f"{thought}{response}{end}"


def test_the_script_for_trl_trains_a_student_on_a_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl")
    import torch
    from safetensors.torch import load_file

    path = with_weights(student(tmp_path, "Qwen3"))
    recipe, run = mixed(tmp_path / "run", path)
    export_mixes(recipe, run, "trl", tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["train.py", path, "mix", str(tmp_path / "trained")])
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    told = runpy.run_path(str(tmp_path / "out" / "train.py"))

    assert told["trainer"].state.global_step == 2
    assert told["settings"].max_length == 16_384
    weights = load_file(tmp_path / "trained" / "model.safetensors")
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_trl_takes_a_dataset_with_all_three_columns_as_prompt_and_completion(tmp_path: Path) -> None:
    """The published mix has `prompt`, `completion` and `messages`."""
    trl = pytest.importorskip("trl")
    import datasets

    path = with_weights(student(tmp_path, "Qwen3"))
    recipe, run = mixed(tmp_path / "run", path)
    settings = trl.SFTConfig(output_dir=str(tmp_path / "t"), max_length=None, use_cpu=True, report_to="none")

    def labels(file: Path) -> list[list[int]]:
        rows = datasets.load_dataset(
            "parquet", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")
        )
        return [*trl.SFTTrainer(model=path, args=settings, train_dataset=rows).train_dataset["labels"]]

    export_mixes(recipe, run, "trl", tmp_path / "out")

    whole = labels(run.mixes / "mix" / "train.parquet")
    assert whole == labels(tmp_path / "out" / "mix.prompt-completion.parquet")
    messages = labels(tmp_path / "out" / "mix.messages.parquet")
    assert [len(row) for row in messages] == [len(row) for row in whole]
    assert all(-100 in row for row in whole)
    assert not any(-100 in row for row in messages)


# LLaMA-Factory, data/README.md: the keys of a dataset description, of its columns and of its tags.
LLAMAFACTORY = {
    "": {"hf_hub_url", "ms_hub_url", "script_url", "cloud_file_name", "file_name", "formatting", "ranking",
         "subset", "split", "folder", "num_samples", "columns", "tags"},
    "columns": {"prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos",
                "audios", "chosen", "rejected", "kto_tag"},
    "tags": {"role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag",
             "system_tag"},
}  # fmt: skip


@pytest.mark.parametrize("name", [None, "Qwen3", "DeepSeek-R1-Distill"])
def test_llamafactory_finds_both_turns_by_what_dataset_info_says(name: str | None, tmp_path: Path) -> None:
    recipe, run = mixed(tmp_path / "run", student(tmp_path, name) if name else None)
    out = tmp_path / "out"

    assert export_mixes(recipe, run, "llamafactory", out) == {"long.jsonl": N, "mix.jsonl": N}

    told = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))
    assert set(told) == set(MIXES)
    for mix, about in told.items():
        assert set(about) <= LLAMAFACTORY[""]
        assert set(about["columns"]) <= LLAMAFACTORY["columns"]
        assert set(about["tags"]) == LLAMAFACTORY["tags"]  # one that is left out is not the default, but none
        assert about["formatting"] == "sharegpt"
        rows = pl.read_ndjson(out / about["file_name"])
        source = pl.read_parquet(run.mixes / mix / "train.parquet")
        assert rows["trace_id"].to_list() == source["trace_id"].to_list()
        tags, turns = about["tags"], rows[about["columns"]["messages"]]
        for (user, assistant), problem, (reasoning, response) in zip(
            turns, source["problem"], parts_of(rows).values(), strict=True
        ):
            assert (user[tags["role_tag"]], assistant[tags["role_tag"]]) == ("human", "gpt")
            assert (tags["user_tag"], tags["assistant_tag"]) == ("human", "gpt")
            assert user[tags["content_tag"]] == problem
            thought = f"<think>\n{reasoning}\n</think>\n\n" if reasoning else ""
            assert assistant[tags["content_tag"]] == f"{thought}{response}"
        settings = yaml.safe_load((out / f"{mix}.yaml").read_text(encoding="utf-8"))
        assert (settings["dataset"], settings["dataset_dir"], settings["cutoff_len"]) == (mix, ".", 16_384)


# axolotl, docs/config-reference (section datasets) and docs/dataset-formats/conversation: keys of a dataset.
AXOLOTL = {
    "path", "ds_type", "type", "field_messages", "message_property_mappings", "template_thinking_key",
    "field_thinking", "split_thinking", "roles_to_train", "train_on_eos",
}  # fmt: skip


@pytest.mark.parametrize(("name", "field"), [(None, "reasoning_content"), ("Qwen3", "reasoning_content"),
                                             ("Qwen2.5", None)])  # fmt: skip
def test_axolotl_gets_reasoning_in_a_field_unless_the_template_would_drop_it(
    name: str | None, field: str | None, tmp_path: Path
) -> None:
    path = student(tmp_path, name) if name else None
    recipe, run = mixed(tmp_path / "run", path)
    out = tmp_path / "out"

    assert export_mixes(recipe, run, "axolotl", out) == {"long.parquet": N, "mix.parquet": N}

    settings = yaml.safe_load((out / "mix.yaml").read_text(encoding="utf-8"))
    (about,) = settings["datasets"]
    assert set(about) <= AXOLOTL
    assert settings["base_model"] == (path or "your/student")
    assert (about["type"], about["roles_to_train"], about["train_on_eos"]) == (
        "chat_template",
        ["assistant"],
        "turn",
    )
    assert about.get("template_thinking_key") == field
    mapped = about["message_property_mappings"]
    assert mapped == {"role": "role", "content": "content"} | ({field: "reasoning_content"} if field else {})
    rows = pl.read_parquet(out / about["path"])
    assert rows["trace_id"].to_list() == pl.read_parquet(run.mixes / "mix" / "train.parquet")["trace_id"].to_list()
    for (user, assistant), (reasoning, response) in zip(
        rows[about["field_messages"]], parts_of(rows).values(), strict=True
    ):
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        if field:
            assert (assistant["reasoning_content"], assistant["content"]) == (reasoning, response)
        else:
            thought = f"<think>\n{reasoning}\n</think>\n\n" if reasoning else ""
            assert assistant == {"role": "assistant", "content": f"{thought}{response}"}


@pytest.mark.parametrize("trainer", ["trl", "llamafactory", "axolotl"])
def test_an_export_again_has_the_same_bytes_and_drops_a_mix_that_is_gone(trainer: Trainer, tmp_path: Path) -> None:
    recipe, run = mixed(tmp_path / "run")
    out = tmp_path / "out"

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in out.iterdir()}

    export_mixes(recipe, run, trainer, out)
    first = files()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    export_mixes(recipe, run, trainer, out)
    assert files() == first | {"notes.txt": b"mine"}

    export_mixes(recipe.model_copy(update={"mixes": {"mix": recipe.mixes["mix"]}}), run, trainer, out)
    assert {name for name in first if name.startswith("long.")} & set(files()) == set()
    assert {name: text for name, text in first.items() if name.startswith("mix.")}.items() <= files().items()


def test_a_file_that_no_export_wrote_stays_as_it_is(tmp_path: Path) -> None:
    recipe, run = mixed(tmp_path / "run")
    theirs, edited = tmp_path / "theirs", tmp_path / "edited"
    theirs.mkdir()
    (theirs / "train.py").write_text("mine", encoding="utf-8")
    export_mixes(recipe, run, "trl", edited)
    (edited / "train.py").write_text("changed", encoding="utf-8")

    for folder, text in ((theirs, "mine"), (edited, "changed")):
        before = sorted(folder.iterdir())
        with pytest.raises(StorageError, match=r"train.py: is there, and not as an export wrote it; move it away"):
            export_mixes(recipe, run, "trl", folder)
        assert (folder / "train.py").read_text(encoding="utf-8") == text
        assert sorted(folder.iterdir()) == before
    with pytest.raises(StorageError, match="holds an export for trl; choose another folder"):
        export_mixes(recipe, run, "axolotl", edited)
    (edited / "export.json").write_text('{"trainer": "trl", "files": {"../run": null}}', encoding="utf-8")
    with pytest.raises(RecordError, match="not written by an export"):
        export_mixes(recipe, run, "trl", edited)


def test_what_an_interrupted_export_left_is_written_again_and_a_file_put_there_since_is_not(
    tmp_path: Path,
) -> None:
    recipe, run = mixed(tmp_path / "run")
    out, source = tmp_path / "out", run.mixes / "mix" / "train.parquet"
    export_mixes(recipe, run, "axolotl", tmp_path / "whole")
    kept = source.read_bytes()
    source.write_bytes(kept[:4] + b"\xff" * 60 + kept[64:])
    with pytest.raises(RecordError, match="not a Parquet file; remove it and run 'mixdistill mix'"):
        export_mixes(recipe, run, "axolotl", out)
    source.write_bytes(kept)
    assert sorted(path.name for path in out.iterdir()) == ["export.json", "long.parquet"]
    (out / "mix.parquet").write_bytes(b"mine")

    with pytest.raises(StorageError, match=r"mix.parquet: is there, and not as an export wrote it"):
        export_mixes(recipe, run, "axolotl", out)
    assert (out / "mix.parquet").read_bytes() == b"mine"

    (out / "mix.parquet").unlink()
    export_mixes(recipe, run, "axolotl", out)
    for path in (tmp_path / "whole").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_a_file_that_an_export_put_there_as_it_was_killed_is_known_as_ours(tmp_path: Path) -> None:
    """Killed between putting the file there and saying so."""
    recipe, run = mixed(tmp_path / "run")
    out = tmp_path / "out"
    export_mixes(recipe, run, "axolotl", out)
    whole = (out / "mix.yaml").read_bytes()
    told = json.loads((out / "export.json").read_bytes())
    begun = {"mix.yaml": told["files"].pop("mix.yaml")}
    (out / "export.json").write_text(json.dumps(told | {"begun": begun}), encoding="utf-8")
    (out / ".mix.yaml.new").write_bytes(b"half of a later")

    export_mixes(recipe, run, "axolotl", out)

    assert (out / "mix.yaml").read_bytes() == whole
    assert not (out / ".mix.yaml.new").exists()


@pytest.mark.parametrize("digest", [None, "0" * 64, 7])
def test_an_export_deletes_no_file_whose_digest_it_does_not_know(digest: object, tmp_path: Path) -> None:
    recipe, run = mixed(tmp_path / "run")
    out = tmp_path / "out"
    out.mkdir()
    forged = {"trainer": "trl", "files": {"notes.txt": digest}}
    (out / "export.json").write_text(json.dumps(forged), encoding="utf-8")
    (out / "notes.txt").write_text("mine", encoding="utf-8")

    export_mixes(recipe, run, "trl", out)

    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_link_is_never_replaced(tmp_path: Path) -> None:
    recipe, run = mixed(tmp_path / "run")
    for number, target in enumerate((tmp_path / "nowhere", tmp_path / "moved.py")):
        out = tmp_path / str(number)
        export_mixes(recipe, run, "trl", out)
        (out / "train.py").replace(tmp_path / "moved.py")
        (out / "train.py").symlink_to(target)

        with pytest.raises(StorageError, match=r"train.py: is there, and not as an export wrote it"):
            export_mixes(recipe, run, "trl", out)

        assert (out / "train.py").readlink() == target


MARKED = [
    (None, "x </think> y"),
    (None, "<think> is a tag"),
    (None, "\n\tIndented, and a blank end. \n"),
    ("", "Thought of nothing."),
    ("a", "x </think> y"),
    (" lead\n\n", "\n Use `</think>`.\n"),
]
"Reasoning and response that speak of marks, or have blank edges."


def mixed_of_marked(folder: Path, student: str | None = None) -> tuple[Recipe, Run]:
    recipe = make_recipe({"long": {"long": 1.0}}, mixing={"student": student, "batch_size": 1})
    traces = [trace(number, "long") for number in range(N)]
    marked = [
        dataclasses.replace(made, reasoning=reasoning, response=response, trace_id=f"t{number}")
        for number, (made, (reasoning, response)) in enumerate(zip(traces, MARKED, strict=True))
    ]
    run = make_run(folder, PROBLEMS, marked)
    compute_stats(recipe, run)
    build_mixes(recipe, run, silent)
    return recipe, run


def test_axolotl_gets_reasoning_and_response_as_the_teacher_wrote_them(tmp_path: Path) -> None:
    recipe, run = mixed_of_marked(tmp_path / "run")

    export_mixes(recipe, run, "axolotl", tmp_path / "out")

    rows = pl.read_parquet(tmp_path / "out" / "long.parquet")
    got = {name: turns[1] for name, turns in rows.select("trace_id", "messages").iter_rows()}
    assert got == {
        f"t{number}": {"role": "assistant", "reasoning_content": reasoning or None, "content": response}
        for number, (reasoning, response) in enumerate(MARKED)
    }


def test_a_trace_that_is_gone_since_the_mix_was_made_is_told(tmp_path: Path) -> None:
    recipe, run = mixed_of_marked(tmp_path / "run")
    (path,) = run.trace_files()
    path.write_bytes(path.read_bytes().replace(b'"trace_id":"t3"', b'"trace_id":"t9"'))

    with pytest.raises(StorageError, match="1 traces of a mix are not there any more; run 'mixdistill mix'"):
        export_mixes(recipe, run, "axolotl", tmp_path / "out")


@pytest.mark.parametrize("opens", [False, True])
def test_llamafactory_gets_the_texts_of_the_mix_with_both_marks(opens: bool, tmp_path: Path) -> None:
    """Also where the template opens the thinking: a row without any has to close it."""
    template = tmp_path / "t.jinja"
    template.write_text(
        "{% for m in messages %}{{ m.role }}\n"
        + ("{% if m.role == 'assistant' %}<think>\n{% endif %}" if opens else "")
        + "{{ m.content }}</s>{% endfor %}",
        encoding="utf-8",
    )
    recipe, run = mixed_of_marked(tmp_path / "run", str(template))

    export_mixes(recipe, run, "llamafactory", tmp_path / "out")

    rows = pl.read_ndjson(tmp_path / "out" / "long.jsonl")
    got = {name: turns[1]["value"] for name, turns in rows.select("trace_id", "conversations").iter_rows()}
    assert got == {
        f"t{number}": f"<think>\n{reasoning or ''}\n</think>\n\n{response}" if reasoning or opens else response
        for number, (reasoning, response) in enumerate(MARKED)
    }


def test_a_mix_that_is_not_built_is_told_before_anything_is_written(tmp_path: Path) -> None:
    recipe, run = mixed(tmp_path / "run")
    (run.mixes / "mix" / "train.parquet").unlink()

    with pytest.raises(StorageError, match=r"train.parquet: not there yet; run 'mixdistill mix' first"):
        export_mixes(recipe, run, "trl", tmp_path / "out")

    assert not (tmp_path / "out").exists()
