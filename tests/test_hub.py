"""Publishing, by the real client to the loopback Hub: one commit, nothing twice, nothing of others touched."""

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from loopback_hub import READ_TOKEN, STRANGER_TOKEN, WRITE_TOKEN, LoopbackHub, hub_environment
from made_runs import finish_run, make_problem, make_recipe, make_run, make_trace

import mixdistill
from mixdistill.cards.hub import Change, plan_publish, publish_dataset
from mixdistill.errors import HubError, MixdistillError, RecipeError, StorageError
from mixdistill.files import file_digest
from mixdistill.recipe import Recipe
from mixdistill.run import Run

MIXES = {"short": {"short": 1.0}, "mix-long": {"long": 0.2, "short": 0.8}}
PARQUET = "data/{}/train-00000-of-00001.parquet"


def recipe_for(repo: str, *, private: bool = True) -> Recipe:
    return make_recipe(MIXES, publish={"repo": repo, "private": private})


RECIPE = recipe_for("tester/mix")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Run:
    problems = [make_problem(number) for number in range(10)]
    traces = [make_trace(problem, style, style) for style in ("long", "short") for problem in problems]
    run = make_run(tmp_path_factory.mktemp("built") / "run", problems, traces)
    finish_run(RECIPE, run)
    return run


@pytest.fixture
def run(built: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with a dataset to publish, by somebody who is logged in as `tester`."""
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    shutil.copytree(built.dataset, tmp_path / "run" / "dataset")
    return Run(tmp_path / "run")


def local_files(run: Run) -> dict[str, bytes]:
    files = (path for path in run.dataset.rglob("*") if path.is_file())
    return {path.relative_to(run.dataset).as_posix(): path.read_bytes() for path in files}


def remote_files(hub: LoopbackHub, repo: str = "tester/mix") -> dict[str, bytes]:
    """All files at the head but for the one that the Hub itself makes."""
    files = {path: blob.content for path, blob in hub.repo(repo).at().files.items()}
    del files[".gitattributes"]
    return files


def commits(hub: LoopbackHub, repo: str = "tester/mix") -> list[str]:
    return [commit.message for commit in hub.repo(repo).history()]


def sent(hub: LoopbackHub) -> list[str]:
    """The requests that change something, by method and what they are for."""
    changing = (seen for seen in hub.requests if seen.method not in ("GET", "HEAD"))
    return sorted(f"{seen.method} {'object' if '/storage/' in seen.path else seen.path}" for seen in changing)


OURS = f"Publish made with mixdistill {mixdistill.__version__}"


def test_a_plan_sends_nothing_and_makes_no_repository(hub: LoopbackHub, run: Run) -> None:
    plan = plan_publish(RECIPE, run)

    files = local_files(run)
    assert plan[:4] == ("tester/mix", True, False, None)
    assert plan.changes == [Change("add", name, len(files[name])) for name in sorted(files)]
    assert plan.sends() == plan.changes
    assert hub.repos == {}
    assert {seen.method for seen in hub.requests} == {"GET"}


def test_a_dataset_is_published_to_a_private_repository_in_one_commit(hub: LoopbackHub, run: Run) -> None:
    told = publish_dataset(RECIPE, run)

    files, head = local_files(run), hub.repo("tester/mix").at()
    assert hub.repo("tester/mix").private
    assert commits(hub) == [OURS, "initial commit"]
    assert head.description == f"Content: {file_digest(run.dataset / 'manifest.json')}"
    assert remote_files(hub) == files
    assert told == {
        "added": len(files),
        "deleted": 0,
        "kept": 0,
        "bytes": sum(map(len, files.values())),
        "revision": head.sha,
        "url": f"{hub.url}/datasets/tester/mix/tree/{head.sha}",
    }


def test_what_is_published_is_what_is_loaded_at_that_revision(
    hub: LoopbackHub, run: Run, built: Run, tmp_path: Path
) -> None:
    import datasets
    import huggingface_hub.errors

    revision = publish_dataset(RECIPE, run)["revision"]
    hub.put("tester/mix", {"data/short/train-00000-of-00001.parquet": b"a later change"})
    read: dict[str, Any] = {"revision": revision, "split": "train", "cache_dir": str(tmp_path / "cache")}

    for config in ("short", "mix-long", None):
        loaded = datasets.load_dataset("tester/mix", config, token=WRITE_TOKEN, **read)
        made = pl.read_parquet(built.mixes / (config or "mix-long") / "train.parquet")
        assert loaded.to_list() == made.to_dicts()
    assert datasets.load_dataset("tester/mix", "traces", token=WRITE_TOKEN, **read).num_rows == 20
    with pytest.raises(huggingface_hub.errors.RepositoryNotFoundError):
        huggingface_hub.HfApi(token=STRANGER_TOKEN).dataset_info("tester/mix")


def test_unchanged_content_makes_no_commit_and_sends_nothing(hub: LoopbackHub, run: Run) -> None:
    first = publish_dataset(RECIPE, run)
    hub.requests.clear()

    again = publish_dataset(RECIPE, run)

    assert plan_publish(RECIPE, run).sends() == []
    assert sent(hub) == []
    assert commits(hub) == [OURS, "initial commit"]
    assert again == first | {"added": 0, "kept": first["added"], "bytes": 0}


@pytest.mark.parametrize(("name", "n_objects"), [("README.md", 0), (PARQUET.format("short"), 1)])
def test_only_a_changed_file_is_sent(hub: LoopbackHub, run: Run, name: str, n_objects: int) -> None:
    publish_dataset(RECIPE, run)
    before = hub.repo("tester/mix").at().files
    content = (run.dataset / name).read_bytes() + b"\n"
    (run.dataset / name).write_bytes(content)
    hub.requests.clear()

    told = publish_dataset(RECIPE, run)

    after = hub.repo("tester/mix").at().files
    assert [path for path in after if after[path] != before.get(path)] == [name]
    assert (told["added"], told["kept"], told["bytes"]) == (1, len(after) - 2, len(content))
    assert sent(hub).count("PUT object") == n_objects
    assert commits(hub) == [OURS, OURS, "initial commit"]


def test_our_stale_files_are_deleted_and_those_of_people_are_kept(hub: LoopbackHub, run: Run) -> None:
    publish_dataset(RECIPE, run)
    theirs = {"notes.md": b"mine", "eval/results.json": b"{}", "database.txt": b"1", "LICENSE": b"MIT"}
    stale = {PARQUET.format("old-mix"): b"PAR1", "data/notes.txt": b"x", "plots/old.png": b"PNG"}
    hub.put("tester/mix", theirs | stale)

    plan = plan_publish(RECIPE, run)
    told = publish_dataset(RECIPE, run)

    assert [(change.action, change.path) for change in plan.sends()] == [
        ("delete", path) for path in sorted(stale)
    ]
    assert (told["added"], told["deleted"]) == (0, 3)
    assert remote_files(hub) == local_files(run) | theirs
    assert commits(hub) == [OURS, "put", OURS, "initial commit"]


def test_a_file_that_somebody_changed_is_put_right(hub: LoopbackHub, run: Run) -> None:
    publish_dataset(RECIPE, run)
    hub.put("tester/mix", {"manifest.json": b"{}"})

    assert publish_dataset(RECIPE, run)["added"] == 1
    assert remote_files(hub) == local_files(run)


LOGIN = "the Hub answered 401: no token, or one that it does not know; run 'hf auth login' or set HF_TOKEN"
NO_WRITE = (
    "the Hub answered 403: the token may not write there; use one with write access, or another publish.repo"
)


@pytest.mark.parametrize(
    ("token", "seeded", "message"),
    [
        ("", None, LOGIN),
        ("", "private", LOGIN),
        ("", "public", LOGIN),
        ("hf_wrong_token", None, LOGIN),
        ("hf_wrong_token", "private", LOGIN),
        (READ_TOKEN, None, NO_WRITE),
        (READ_TOKEN, "private", NO_WRITE),
        (STRANGER_TOKEN, None, NO_WRITE),
        (STRANGER_TOKEN, "private", NO_WRITE),
        (STRANGER_TOKEN, "public", NO_WRITE),
    ],
)
def test_who_may_not_write_is_told_why_and_nothing_is_changed(
    hub: LoopbackHub, run: Run, monkeypatch: pytest.MonkeyPatch, token: str, seeded: str | None, message: str
) -> None:
    if seeded:
        hub.put("tester/mix", {"a.txt": b"1"}, private=seeded == "private")
    monkeypatch.setenv("HF_TOKEN", token)

    with pytest.raises(HubError) as refused:
        publish_dataset(recipe_for("tester/mix", private=seeded != "public"), run)

    assert str(refused.value) == f"tester/mix: {message}"
    assert not token or token not in "".join(traceback.format_exception(refused.value))
    assert hub.objects == {}
    assert [commits(hub) for _ in hub.repos] == ([["put", "initial commit"]] if seeded else [])


def test_the_token_is_looked_up_for_each_publish(
    hub: LoopbackHub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    with pytest.raises(HubError, match="403"):
        publish_dataset(RECIPE, run)

    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)

    assert publish_dataset(RECIPE, run)["added"] == len(local_files(run))


@pytest.mark.parametrize("token", ["hf_tökén", "hf_two\nlines", "hf with spaces"])
def test_a_token_that_is_none_shows_in_no_error(
    hub: LoopbackHub, run: Run, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)

    with pytest.raises(HubError) as refused:
        publish_dataset(RECIPE, run)

    assert token not in "".join(traceback.format_exception(refused.value))
    assert "HF_TOKEN" in str(refused.value)


def test_a_public_repository_is_not_taken_for_a_private_one(hub: LoopbackHub, run: Run) -> None:
    hub.put("tester/mix", {"a.txt": b"1"}, private=False)

    for attempt in (plan_publish, publish_dataset):
        with pytest.raises(HubError) as refused:
            attempt(RECIPE, run)
        assert str(refused.value) == (
            "tester/mix is public and the recipe says private; set publish.private=false, or make it private "
            "in its settings on the Hub"
        )

    assert sent(hub) == []


def test_a_recipe_that_says_so_publishes_in_public(hub: LoopbackHub, run: Run) -> None:
    publish_dataset(recipe_for("tester/mix", private=False), run)

    assert not hub.repo("tester/mix").private


def test_a_private_repository_stays_private_whatever_the_recipe_says(hub: LoopbackHub, run: Run) -> None:
    hub.put("tester/mix", {"a.txt": b"1"}, private=True)

    assert plan_publish(recipe_for("tester/mix", private=False), run).private
    publish_dataset(recipe_for("tester/mix", private=False), run)

    assert hub.repo("tester/mix").private


def test_an_unreachable_hub_is_said_to_be(hub: LoopbackHub, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")

    for attempt in (plan_publish, publish_dataset):
        with pytest.raises(HubError) as refused:
            attempt(RECIPE, run)
        assert str(refused.value) == (
            "tester/mix: the Hub cannot be reached (ConnectError); nothing is half published, publish again"
        )


def test_a_rival_commit_is_neither_lost_nor_mixed_with_ours(hub: LoopbackHub, run: Run) -> None:
    hub.put("tester/mix", {"a.txt": b"1"}, private=True)
    hub.before_commit = lambda: hub.put("tester/mix", {"rival.txt": b"2"})

    with pytest.raises(HubError) as refused:
        publish_dataset(RECIPE, run)
    between = remote_files(hub)
    publish_dataset(RECIPE, run)

    assert str(refused.value) == "tester/mix: the Hub answered 412: another commit came in between; publish again"
    assert between == {"a.txt": b"1", "rival.txt": b"2"}
    assert remote_files(hub) == local_files(run) | between
    assert commits(hub) == [OURS, "put", "put", "initial commit"]


def test_nothing_is_sent_that_was_not_in_the_plan_that_a_person_agreed_to(hub: LoopbackHub, run: Run) -> None:
    hub.put("tester/mix", {"a.txt": b"1"}, private=True)
    agreed = plan_publish(RECIPE, run)
    hub.put("tester/mix", {"data/theirs.parquet": b"2"})  # a new plan would delete it

    with pytest.raises(HubError, match="412: another commit came in between; publish again"):
        publish_dataset(RECIPE, run, agreed)

    assert remote_files(hub) == {"a.txt": b"1", "data/theirs.parquet": b"2"}


def test_an_answer_that_is_lost_after_the_commit_leads_to_no_second_one(hub: LoopbackHub, run: Run) -> None:
    hub.fault("POST", "/commit/main$", "lost")

    with pytest.raises(HubError, match=r"cannot be reached \(\w+\); nothing is half published, publish again"):
        publish_dataset(RECIPE, run)
    again = publish_dataset(RECIPE, run)

    assert commits(hub) == [OURS, "initial commit"]
    assert (again["added"], again["revision"]) == (0, hub.repo("tester/mix").at().sha)


def test_an_answer_that_is_lost_after_the_repository_was_made_is_no_harm(hub: LoopbackHub, run: Run) -> None:
    hub.fault("POST", "/repos/create$", "lost")

    with pytest.raises(HubError, match="cannot be reached"):
        publish_dataset(RECIPE, run)
    publish_dataset(RECIPE, run)

    assert hub.repo("tester/mix").private
    assert remote_files(hub) == local_files(run)


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/commit/", 500, "the Hub answered 500: publish again later"),
        ("POST", "/commit/", 429, "the Hub answered 429: publish again later"),
        ("PUT", "/storage/", 403, NO_WRITE),
        ("GET", "/api/datasets/tester/mix$", 500, "the Hub answered 500: publish again later"),
    ],
)
def test_a_publish_that_is_refused_changes_nothing_and_can_be_tried_again(
    hub: LoopbackHub, run: Run, method: str, path: str, status: int, message: str
) -> None:
    sha = hub.put("tester/mix", {"a.txt": b"1"}, private=True)
    hub.fault(method, path, status)

    with pytest.raises(HubError) as refused:
        publish_dataset(RECIPE, run)

    assert str(refused.value) == f"tester/mix: {message}"
    assert hub.repo("tester/mix").at().sha == sha
    publish_dataset(RECIPE, run)
    assert remote_files(hub) == local_files(run) | {"a.txt": b"1"}


def test_a_broken_upload_is_tried_again(hub: LoopbackHub, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.fault("PUT", "/storage/", "drop")
    hub.fault("PUT", "/storage/", 503, times=2)

    publish_dataset(RECIPE, run)

    assert remote_files(hub) == local_files(run)
    assert commits(hub) == [OURS, "initial commit"]


def test_a_publisher_that_is_killed_leaves_the_head_as_it_was(hub: LoopbackHub, run: Run, tmp_path: Path) -> None:
    sha = hub.put("tester/mix", {"a.txt": b"1"}, private=True)
    hub.fault("PUT", "/storage/", ("delay", 3600), skip=2)
    code = (
        "import test_hub, pathlib; from mixdistill.run import Run; "
        f"test_hub.publish_dataset(test_hub.RECIPE, Run(pathlib.Path({str(run.folder)!r})))"
    )
    env = os.environ | hub_environment(hub.url, tmp_path / "home", WRITE_TOKEN)
    env["PYTHONPATH"] = str(Path(__file__).parent)
    child = subprocess.Popen([sys.executable, "-c", code], env=env)
    try:
        while hub.faults and child.poll() is None:
            time.sleep(0.02)
    finally:
        child.kill()

    assert child.wait() == -signal.SIGKILL
    assert hub.repo("tester/mix").at().sha == sha
    kept = len(hub.objects)
    hub.requests.clear()
    publish_dataset(RECIPE, run)
    assert remote_files(hub) == local_files(run) | {"a.txt": b"1"}
    n_objects = sum(name.endswith((".parquet", ".png")) for name in local_files(run))
    assert 2 <= kept < n_objects
    assert sent(hub).count("PUT object") == n_objects - kept


def test_files_that_the_hub_leaves_out_without_a_word_are_missed(hub: LoopbackHub, run: Run) -> None:
    hub.put("tester/mix", {".gitignore": b"*.json\n"}, private=True)

    with pytest.raises(HubError) as refused:
        publish_dataset(RECIPE, run)

    assert str(refused.value) == (
        "tester/mix: after the commit manifest.json is not what was sent; publish again, or see whether a "
        ".gitignore there leaves it out"
    )


def test_a_card_that_the_hub_does_not_take_stops_all(hub: LoopbackHub, run: Run) -> None:
    hub.put("tester/mix", {"a.txt": b"1"}, private=True)
    (run.dataset / "README.md").write_text("---\nlicense: [mit\n---\n")

    with pytest.raises(HubError, match=r"^tester/mix: the Hub does not take the card: .*YAML Metadata Error"):
        publish_dataset(RECIPE, run)

    assert commits(hub) == ["put", "initial commit"]
    assert hub.objects == {}


@pytest.mark.parametrize(
    ("recipe", "kind", "message"),
    [
        (
            make_recipe(MIXES), RecipeError,
            "the recipe has no 'publish'; add publish: {repo: owner/name} or --set publish.repo=...",
        ),
        (recipe_for("tester/a--b"), RecipeError, "publish.repo: Cannot have -- or .. in repo_id: 'tester/a--b'."),
    ],
)  # fmt: skip
def test_a_recipe_that_names_no_place_is_refused_before_anything_is_asked(
    hub: LoopbackHub, run: Run, recipe: Recipe, kind: type[MixdistillError], message: str
) -> None:
    for attempt in (plan_publish, publish_dataset):
        with pytest.raises(kind) as refused:
            attempt(recipe, run)
        assert str(refused.value) == message

    assert hub.requests == []


def test_without_a_dataset_nothing_is_asked(hub: LoopbackHub, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"dataset: not there yet; run 'mixdistill card' first"):
        publish_dataset(RECIPE, Run(tmp_path))

    assert hub.requests == []
