"""The command line: exit codes, one clear line for what goes wrong, stdout fit for machines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL_RECIPE, no_progress
from fault_server import FaultServer, in_turn, says
from loopback_hub import LoopbackHub, hub_environment

from mixdistill.recipe import Recipe
from mixdistill.run import Figures, Run
from mixdistill.tables import read_verdicts
from mixdistill.verifiers.judge import judge_traces


def mixdistill(*arguments: str | Path, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs the command as a person would; no bug may reach them as a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "mixdistill", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done


def last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def test_run_walks_from_recipe_to_dataset(small_recipe: Path, tmp_path: Path) -> None:
    done = mixdistill("run", small_recipe, "--json", cwd=tmp_path)

    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(result["stages"]) == ["problems", "generate", "verify", "stats", "mix", "card"]
    assert {name: mix["rows_by_part"] for name, mix in result["mixes"].items()} == {
        "long": {"long": 24},
        "short": {"short": 24},
        "mix-long": {"long": 5, "short": 19},
    }
    assert (tmp_path / result["dataset"] / "README.md").is_file()


def test_the_second_run_says_that_there_is_nothing_to_do(small_recipe: Path, tmp_path: Path) -> None:
    mixdistill("run", small_recipe, cwd=tmp_path)

    done = mixdistill("run", small_recipe, cwd=tmp_path)

    assert [line.endswith("(nothing to do)") for line in done.stderr.splitlines()] == [True] * 6
    assert last_line(done.stdout).startswith("Dataset: runs/small/dataset")


def test_each_stage_is_a_command(small_recipe: Path, tmp_path: Path) -> None:
    for stage in ("problems", "generate", "verify", "stats", "mix", "card"):
        done = mixdistill(stage, small_recipe, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert list(json.loads(done.stdout)["stages"]) == [stage]


def test_a_stage_names_the_stage_that_has_to_come_before(small_recipe: Path, tmp_path: Path) -> None:
    done = mixdistill("mix", small_recipe, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr == "Error: runs/small/problems.parquet: not there yet; run 'mixdistill problems' first\n"


def test_a_dry_run_tells_what_is_to_do_and_does_nothing(small_recipe: Path, tmp_path: Path) -> None:
    mixdistill("problems", small_recipe, cwd=tmp_path)
    before = sorted(tmp_path.rglob("*"))

    done = mixdistill("run", small_recipe, "--dry-run", "--json", cwd=tmp_path)

    plan = json.loads(done.stdout)["plan"]
    assert [(row["stage"], row["state"]) for row in plan][:2] == [("problems", "finished"), ("generate", "to do")]
    assert plan[1]["what"] == "60 of 60 requests (long 30, short 30)"
    assert sorted(tmp_path.rglob("*")) == before


def test_limit_keeps_the_first_problems(small_recipe: Path, tmp_path: Path) -> None:
    done = mixdistill("run", small_recipe, "--limit", "4", "--json", cwd=tmp_path)

    assert json.loads(done.stdout)["stages"]["problems"]["counts"]["kept"] == 4


def test_a_broken_line_is_dropped_with_its_reason_and_the_rest_goes_on(small_recipe: Path, tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    lines = problems.read_text(encoding="utf-8").splitlines()
    problems.write_text("\n".join([lines[0], '{"problem": "cut of', *lines[1:]]), encoding="utf-8")

    done = mixdistill("problems", small_recipe, "--json", cwd=tmp_path)

    counts = json.loads(done.stdout)["stages"]["problems"]["counts"]
    assert done.returncode == 0
    assert counts == {"kept": 30, "dropped": 1, "dropped_unreadable_row": 1}


WRONG_USE = [
    # (arguments behind the recipe, what the one line says)
    (
        ["--set", "problems.0.columns.problem=question"],
        "problems.jsonl: no column 'question' (there are: problem,",
    ),
    (["--set", "teachers.long.sampels=3"], "unknown key 'teachers.long.sampels'"),
    (["--set", "sead=3"], "unknown key 'sead'; did you mean 'seed'?"),
    (["--set", "mixes.long.long=0.5"], "shares of mix long sum to 0.5, not to 1"),
    (["--set", "nonsense"], "--set nonsense: not of the form key=value"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_USE)
def test_wrong_use_exits_2_and_names_the_place(
    small_recipe: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = mixdistill("problems", small_recipe, *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs" / "small" / "problems.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["run", "no-such", "--json"], 2, "no-such: no such file"),
        (["generate", "RECIPE", "--json", "--pilot", "1"], 2, "Invalid value for '--pilot'"),
        (["stats", "RECIPE", "--json", "--nonsense"], 2, "No such option"),
        (["stats", "RECIPE", "--json"], 1, "not there yet; run 'mixdistill"),
    ],
)
def test_with_json_what_goes_wrong_is_an_event(
    small_recipe: Path, tmp_path: Path, arguments: list[str], exit_code: int, told: str
) -> None:
    done = mixdistill(*(small_recipe if word == "RECIPE" else word for word in arguments), cwd=tmp_path)

    (error,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, error["event"], error["exit_code"]) == (exit_code, "error", exit_code)
    assert told in error["message"]


@pytest.mark.parametrize("count", ["2000000", "2_000_000", "2e6"])
def test_tokens_of_a_budget_may_be_written_short(small_recipe: Path, tmp_path: Path, count: str) -> None:
    done = mixdistill("generate", small_recipe, "--dry-run", "--budget-tokens", count, cwd=tmp_path)

    assert done.returncode == 0


@pytest.mark.parametrize("count", ["2M", "0", "1.5", "-3", "nan", "inf"])
def test_other_tokens_of_a_budget_are_wrong_use(small_recipe: Path, tmp_path: Path, count: str) -> None:
    done = mixdistill("generate", small_recipe, f"--budget-tokens={count}", cwd=tmp_path)

    assert done.returncode == 2
    assert f"'--budget-tokens': '{count}' is no whole number above 0, such as 2000000" in done.stderr


def test_a_pilot_that_a_budget_ends_prints_its_estimate_and_exits_3(small_recipe: Path, tmp_path: Path) -> None:
    with FaultServer(in_turn(says())) as server:
        teacher = f"far: {{engine: openai, base_url: '{server.base_url}', model: m, style: short, concurrency: 1}}"
        small_recipe.write_text(SMALL_RECIPE.replace("mixes:", f"  {teacher}\nmixes:"), encoding="utf-8")
        mixdistill("problems", small_recipe, cwd=tmp_path)
        done = mixdistill(
            "generate", small_recipe, "--pilot", "9", "--budget-tokens", "230", "--json", cwd=tmp_path
        )

    estimate = json.loads(done.stdout)
    error = json.loads(last_line(done.stderr))
    assert (done.returncode, error["event"], error["exit_code"]) == (3, "error", 3)
    assert (error["message"], estimate["total"]["n_requests"]) == (estimate["ended"], 25)


def test_a_dry_run_of_a_pilot_and_of_batches_says_what_they_do(small_recipe: Path, tmp_path: Path) -> None:
    mixdistill("problems", small_recipe, cwd=tmp_path)

    told = [
        json.loads(mixdistill("generate", small_recipe, "--json", "--dry-run", *way, cwd=tmp_path).stdout)["plan"]
        for way in (["--pilot", "5"], ["--batch-out", "out.jsonl"])
    ]

    assert [row["what"] for (row,) in told] == [
        "asks about 0 of 0 problems: no requests", "asks nobody; writes no requests to out.jsonl"
    ]  # fmt: skip


def test_an_unknown_recipe_names_the_shipped_ones(tmp_path: Path) -> None:
    done = mixdistill("run", "quikstart", cwd=tmp_path)

    assert done.returncode == 2
    assert "quikstart: no such file, and no shipped recipe; did you mean 'quickstart'?" in done.stderr


def test_an_unreachable_server_is_one_line_and_loses_nothing(small_recipe: Path, tmp_path: Path) -> None:
    text = SMALL_RECIPE.replace(
        "mixes:",
        "  far: {engine: openai, base_url: 'http://127.0.0.1:9/v1', model: m, style: short}\nmixes:",
    )
    small_recipe.write_text(text, encoding="utf-8")

    done = mixdistill("run", small_recipe, cwd=tmp_path)

    assert done.returncode == 1
    assert "teacher 'far': http://127.0.0.1:9/v1/chat/completions" in last_line(done.stderr)
    assert "start the server, or look at base_url and the network" in last_line(done.stderr)
    assert (tmp_path / "runs" / "small" / "problems.parquet").exists()


def test_a_run_folder_that_cannot_be_written_is_one_line(small_recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")

    done = mixdistill("run", small_recipe, "--run", tmp_path / "taken" / "run", cwd=tmp_path)

    assert done.returncode == 1
    assert "cannot be written: Not a directory" in done.stderr
    assert "choose a folder with --run DIR" in done.stderr


def test_a_full_disk_is_one_line_and_keeps_what_was_made(small_recipe: Path, tmp_path: Path) -> None:
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "from mixdistill.cli import main; sys.argv = ['mixdistill', 'run', sys.argv[1]]; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", limited, str(small_recipe)], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "cannot be written: File too large" in last_line(done.stderr)
    assert mixdistill("run", small_recipe, cwd=tmp_path).returncode == 0


def test_publish_sends_nothing_without_yes(small_recipe: Path, tmp_path: Path, hub: LoopbackHub) -> None:
    mixdistill("run", small_recipe, cwd=tmp_path)
    account = hub_environment(hub.url, tmp_path / "hf", hub.token)
    target: list[str | Path] = ["publish", small_recipe, "--set", "publish.repo=tester/asked"]

    looked = mixdistill(*target, "--dry-run", cwd=tmp_path, **account)
    refused = mixdistill(*target, cwd=tmp_path, **account)
    sent = mixdistill(*target, "--yes", "--json", cwd=tmp_path, **account)

    assert (looked.returncode, refused.returncode, sent.returncode) == (0, 2, 0)
    assert "tester/asked: private, new: nothing was sent; add --yes" in refused.stderr
    assert json.loads(sent.stdout)["revision"] == hub.repo("tester/asked").at().sha
    assert hub.repo("tester/asked").private


def test_a_wrong_token_is_one_line_without_the_token(small_recipe: Path, tmp_path: Path, hub: LoopbackHub) -> None:
    mixdistill("run", small_recipe, cwd=tmp_path)
    account = hub_environment(hub.url, tmp_path / "hf", "hf_wrongwrongwrong")

    done = mixdistill("publish", small_recipe, "--set", "publish.repo=tester/x", "--yes", cwd=tmp_path, **account)

    assert done.returncode == 1
    assert done.stderr == (
        "Error: tester/x: the Hub answered 401: no token, or one that it does not know; "
        "run 'hf auth login' or set HF_TOKEN\n"
    )


def test_check_says_why(tmp_path: Path) -> None:
    done = mixdistill("check", "18", "She sells 9 * 2 = $18 a day.\nA: 18", "--json", cwd=tmp_path)

    verdict = json.loads(done.stdout)
    assert list(verdict) == [
        "status", "reference", "reference_read_as", "answer", "answer_read_as", "rule", "method", "reason",
        "seconds",
    ]  # fmt: skip
    assert (verdict["status"], verdict["answer"], verdict["rule"]) == ("correct", "18", "answer_line")


def test_check_takes_what_the_comparison_needs(tmp_path: Path) -> None:
    choice = mixdistill("check", "B", "Answer: (B) 12", "--answer-type", "choice", "--json", cwd=tmp_path)
    wrong = mixdistill("check", "1", "2", "--leniency", "loose", cwd=tmp_path)

    assert json.loads(choice.stdout)["status"] == "correct"
    assert json.loads(choice.stdout)["reference_read_as"] is None
    assert wrong.returncode == 2
    assert "'strict', 'default', 'lenient'" in wrong.stderr


def test_check_cannot_move_the_cursor(tmp_path: Path) -> None:
    done = mixdistill("check", "1\x1b[2J", "Answer: 2\x1b[2J\u202e", cwd=tmp_path)

    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout


def with_suspects(folder: Path) -> None:
    """Changes the small recipe's traces so that both teachers say 100 to the first problem, 1 + 2."""
    path = folder / "traces.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[0] |= {"long": r"\boxed{100}", "short": "The answer is 100."}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_verify_prints_verdicts_by_teacher_and_by_rule(small_recipe: Path, tmp_path: Path) -> None:
    with_suspects(tmp_path)
    for stage in ("problems", "generate"):
        mixdistill(stage, small_recipe, cwd=tmp_path)

    done = mixdistill("verify", small_recipe, cwd=tmp_path)
    told = json.loads(mixdistill("verify", small_recipe, "--json", cwd=tmp_path).stdout)

    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["long", "30", "23", "76.7%", "7", "23.3%", "0"] in lines
    assert ["short", "30", "29", "96.7%", "1", "3.3%", "0"] in lines
    assert ["boxed", "59", "52", "88.1%", "7", "11.9%", "0"] in lines
    assert "References that look wrong: 1  (--audit lists them)" in done.stdout
    assert list(told) == ["run", "stages", "verdicts", "judge", "reference_suspect", "examples"]
    assert told["verdicts"]["teacher"][0] == {
        "name": "long", "traces": 30, "statuses": {"correct": 23, "incorrect": 7}, "looping": 0,
    }  # fmt: skip
    assert [row["kind"] for row in told["reference_suspect"]] == ["teachers_agree"]
    assert (told["judge"], told["examples"]) == ({}, [])


def test_verify_shows_suspects_and_examples_on_request(small_recipe: Path, tmp_path: Path) -> None:
    with_suspects(tmp_path)
    for stage in ("problems", "generate"):
        mixdistill(stage, small_recipe, cwd=tmp_path)
    command: list[str | Path] = ["verify", small_recipe, "--audit", "--examples", "incorrect"]

    done = mixdistill(*command, cwd=tmp_path)
    told = json.loads(mixdistill(*command, "--json", cwd=tmp_path).stdout)
    none = mixdistill("verify", small_recipe, "--examples", "timeout", cwd=tmp_path)

    assert "evidence   2 of 2 teachers say 100 (long in 1 of 1, short in 1 of 1 samples); none says" in done.stdout
    assert "reason     found 0 (rule boxed); the reference is 7; the numbers differ" in done.stdout
    assert len(told["examples"]) == 8
    assert {row["answer"] for row in told["examples"]} == {"0", "100"}
    assert "No verdict is 'timeout'." in none.stdout


def test_a_suspect_is_out_of_the_mixes_and_in_the_dataset(small_recipe: Path, tmp_path: Path) -> None:
    with_suspects(tmp_path)

    done = mixdistill("run", small_recipe, "--json", cwd=tmp_path)

    result = json.loads(done.stdout)
    assert result["stages"]["verify"]["counts"]["reference_suspect"] == 1
    assert result["mixes"]["short"]["problems_left_out"]["the reference looks wrong"] == 1
    assert result["stages"]["card"]["counts"]["suspects"] == 1


def test_show_puts_the_traces_of_a_problem_side_by_side(small_recipe: Path, tmp_path: Path) -> None:
    mixdistill("run", small_recipe, cwd=tmp_path)

    done = mixdistill("show", small_recipe, cwd=tmp_path)

    assert "What is 1 + 2?" in done.stdout
    assert "long #0 (long): correct" in done.stdout
    assert "short #0 (short): correct" in done.stdout


def test_text_of_a_model_cannot_move_the_cursor(small_recipe: Path, tmp_path: Path) -> None:
    traces = tmp_path / "traces.jsonl"
    text = traces.read_text(encoding="utf-8").replace("We start", "\\u001b[2J[red]We start")
    traces.write_text(text, encoding="utf-8")
    mixdistill("run", small_recipe, cwd=tmp_path)

    done = mixdistill("show", small_recipe, cwd=tmp_path)

    assert "\x1b" not in done.stdout
    assert "[red]We start" in done.stdout


def test_init_copies_a_recipe_that_runs(tmp_path: Path) -> None:
    done = mixdistill("init", "mine", cwd=tmp_path)

    assert done.returncode == 0
    assert "mine/recipe.yaml" in done.stdout.splitlines()
    assert mixdistill("problems", "mine", cwd=tmp_path).returncode == 0
    assert "not empty" in mixdistill("init", "mine", cwd=tmp_path).stderr


def test_starting_up_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, mixdistill.cli; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    heavy = {
        "polars",
        "datasets",
        "torch",
        "sympy",
        "pyarrow",
        "pydantic",
        "matplotlib",
        "rich",
        "huggingface_hub",
    }
    assert heavy & set(done.stdout.split()) == set()


def test_publish_refuses_a_dataset_that_is_not_what_the_recipe_says(
    small_recipe: Path, tmp_path: Path, hub: LoopbackHub
) -> None:
    mixdistill("run", small_recipe, cwd=tmp_path)
    account = hub_environment(hub.url, tmp_path / "hf", hub.token)
    other = ["--set", "publish.repo=tester/stale", "--set", "mixes.mix-long={long: 0.5, short: 0.5}", "--yes"]

    done = mixdistill("publish", small_recipe, *other, cwd=tmp_path, **account)

    assert done.returncode == 1
    assert "not what the recipe says: stage 'mix' is to do; run 'mixdistill run' first" in done.stderr
    assert hub.requests == []


def test_run_publishes_once_and_then_does_not_need_the_hub(
    small_recipe: Path, tmp_path: Path, hub: LoopbackHub
) -> None:
    account = hub_environment(hub.url, tmp_path / "hf", hub.token)
    command = ["run", "recipe.yaml", "--set", "publish.repo=tester/once", "--yes", "--json"]

    first = mixdistill(*command, cwd=tmp_path, **account)
    nowhere = account | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    again = mixdistill(*command, cwd=tmp_path, **nowhere)
    plan = json.loads(mixdistill(*command, "--dry-run", cwd=tmp_path, **nowhere).stdout)["plan"]

    assert plan[-1] == {"stage": "publish", "state": "finished", "what": "to tester/once"}
    assert json.loads(first.stdout)["published"]["revision"] == hub.repo("tester/once").at().sha
    assert again.returncode == 0
    assert "published" not in json.loads(again.stdout)


def test_a_dry_run_does_not_call_a_stage_finished_whose_input_will_change(
    small_recipe: Path, tmp_path: Path
) -> None:
    mixdistill("run", small_recipe, cwd=tmp_path)

    done = mixdistill("run", small_recipe, "--set", "problems.0.name=other", "--dry-run", "--json", cwd=tmp_path)

    states = {row["stage"]: row["state"] for row in json.loads(done.stdout)["plan"]}
    assert states["problems"] == "to do"
    assert states["generate"] == "to do if its input changes"


def test_a_changed_source_changes_what_the_card_says_was_left_out(small_recipe: Path, tmp_path: Path) -> None:
    mixdistill("run", small_recipe, cwd=tmp_path)
    problems = tmp_path / "problems.jsonl"
    line = problems.read_text(encoding="utf-8").partition("\n")[0]
    problems.write_text(problems.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")

    mixdistill("run", small_recipe, cwd=tmp_path)

    card = (tmp_path / "runs" / "small" / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "| rows of the problem sources | duplicate | 1 |" in card


def test_a_negative_reference_can_be_checked(tmp_path: Path) -> None:
    done = mixdistill("check", "-3", "The answer is -3.", cwd=tmp_path)

    assert done.stdout.splitlines()[0].split() == ["status", "correct"]


def test_an_interrupted_verify_keeps_its_verdicts(small_run: tuple[Recipe, Run]) -> None:
    recipe, run = small_run
    run.verdicts.unlink()

    def interrupt(done: int, total: int, note: str, figures: Figures | None = None, /) -> None:
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_traces(recipe, run, interrupt)

    assert read_verdicts(run).height == 50
    assert judge_traces(recipe, run, no_progress)["new"] == 10
