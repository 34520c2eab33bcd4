"""The loopback Hub against the real clients: what they do on the Hub, they can do on it."""

import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from loopback_hub import READ_TOKEN, STRANGER_TOKEN, WRITE_TOKEN, LoopbackHub, Seen, hub_environment

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

LONG = [{"problem": "1+1", "answer": "2", "length": 900}, {"problem": "2+3", "answer": "5", "length": 700}]
SHORT = [{"problem": "1+1", "answer": "2", "length": 40}]
CARD = """---
license: apache-2.0
configs:
- config_name: long
  default: true
  data_files: [{split: train, path: data/long/*.parquet}]
- config_name: short
  data_files: [{split: train, path: data/short/*.parquet}]
---
# Traces
"""


@pytest.fixture
def api(hub: LoopbackHub) -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.url, token=hub.token)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import polars as pl

    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def dataset_files() -> dict[str, bytes]:
    return {
        "README.md": CARD.encode(),
        "manifest.json": b'{"rows": 3}',
        "data/long/train-00000-of-00001.parquet": parquet(LONG),
        "data/short/train-00000-of-00001.parquet": parquet(SHORT),
    }


def additions(files: dict[str, bytes]) -> "list[CommitOperationAdd]":
    from huggingface_hub import CommitOperationAdd

    return [CommitOperationAdd(path, content) for path, content in files.items()]


def publish(api: "HfApi", repo_id: str, files: dict[str, bytes], parent: str | None = None) -> str:
    made = api.create_commit(
        repo_id, additions(files), commit_message="publish", repo_type="dataset", parent_commit=parent
    )
    return made.oid


def puts(hub: LoopbackHub) -> list[int]:
    return [seen.status for seen in hub.requests if seen.method == "PUT"]


def test_a_private_dataset_is_published_in_one_commit_and_read_back(
    hub: LoopbackHub, api: "HfApi", tmp_path: Path
) -> None:
    import datasets

    url = api.create_repo("tester/round", repo_type="dataset", private=True)
    first = api.repo_info("tester/round", repo_type="dataset").sha
    sha = publish(api, "tester/round", dataset_files(), parent=first)
    read: dict[str, Any] = {"token": hub.token, "revision": sha, "cache_dir": str(tmp_path)}

    assert (url.repo_id, hub.repo("tester/round").private) == ("tester/round", True)
    assert [c.message for c in hub.repo("tester/round").history()] == ["publish", "initial commit"]
    assert puts(hub) == [200, 200]
    assert datasets.load_dataset("tester/round", **read)["train"].to_list() == LONG
    assert datasets.load_dataset("tester/round", "short", **read)["train"].to_list() == SHORT
    assert datasets.get_dataset_config_names("tester/round", revision=sha, token=hub.token) == [
        "long",
        "short",
    ]
    streamed = datasets.load_dataset("tester/round", "long", split="train", streaming=True, **read)
    assert list(streamed) == LONG


def test_a_public_seed_is_read_without_a_token(hub: LoopbackHub, tmp_path: Path) -> None:
    import datasets

    hub.put("EleutherAI/math", {"test.jsonl": b'{"problem": "1+1"}\n'})

    loaded = datasets.load_dataset("EleutherAI/math", split="test", cache_dir=str(tmp_path))

    assert loaded.to_list() == [{"problem": "1+1"}]


def test_files_are_listed_described_and_downloaded(hub: LoopbackHub, api: "HfApi", tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard
    from huggingface_hub.hf_api import RepoFile

    files = dataset_files()
    sha = hub.put("tester/files", files, private=True)
    what: dict[str, Any] = {"repo_id": "tester/files", "repo_type": "dataset"}
    path = "data/long/train-00000-of-00001.parquet"

    tree = {entry.path: entry for entry in api.list_repo_tree(**what, recursive=True)}
    (described,) = api.get_paths_info(**what, paths=[path, "missing"])
    folder = Path(api.snapshot_download(**what, local_dir=tmp_path))
    cached = Path(api.hf_hub_download(**what, filename=path))

    assert sorted(api.list_repo_files(**what)) == sorted([*files, ".gitattributes"])
    assert set(tree) == {*files, ".gitattributes", "data", "data/long", "data/short"}
    assert {e.path for e in api.list_repo_tree(**what)} == {
        ".gitattributes", "README.md", "manifest.json", "data"
    }  # fmt: skip
    assert isinstance(described, RepoFile)
    assert described.lfs is not None
    assert (described.size, described.lfs.sha256) == (len(files[path]), cached.resolve().name)
    assert {name: (folder / name).read_bytes() for name in files} == files
    assert (cached.read_bytes(), sha in str(cached)) == (files[path], True)
    assert DatasetCard.load("tester/files", token=hub.token).data.license == "apache-2.0"


def test_a_part_of_a_file_is_read_from_either_origin(hub: LoopbackHub) -> None:
    from huggingface_hub import HfFileSystem

    files = {"a.json": b"0123456789", "b.parquet": b"abcdefghij"}
    hub.put("tester/parts", files, private=True)
    files_there = HfFileSystem(token=hub.token)

    assert files_there.cat_file("datasets/tester/parts/a.json", start=2, end=5) == b"234"
    assert files_there.cat_file("datasets/tester/parts/b.parquet", start=7) == b"hij"
    assert [seen.status for seen in hub.requests if seen.method == "GET"][-3:] == [206, 302, 206]


def test_unchanged_files_are_neither_sent_nor_committed(hub: LoopbackHub, api: "HfApi") -> None:
    sha = hub.put("tester/same", dataset_files())

    assert publish(api, "tester/same", dataset_files()) == sha
    assert puts(hub) == []


def test_files_can_be_deleted(hub: LoopbackHub, api: "HfApi") -> None:
    from huggingface_hub import CommitOperationDelete
    from huggingface_hub.errors import EntryNotFoundError

    hub.put("tester/less", dataset_files())
    gone = [CommitOperationDelete("data/short/"), CommitOperationDelete("manifest.json")]
    api.create_commit("tester/less", gone, commit_message="less", repo_type="dataset")

    left = {".gitattributes", "README.md", "data/long/train-00000-of-00001.parquet"}
    assert set(hub.repo("tester/less").at().files) == left
    with pytest.raises(EntryNotFoundError):
        api.delete_file("manifest.json", "tester/less", repo_type="dataset")


def test_ignored_files_are_left_out_without_a_word(hub: LoopbackHub, api: "HfApi") -> None:
    hub.put("tester/ignore", {".gitignore": b"*.json\n"})

    publish(api, "tester/ignore", {"manifest.json": b"{}", "a.txt": b"a"})

    assert set(hub.repo("tester/ignore").at().files) == {".gitattributes", ".gitignore", "a.txt"}


def test_a_stale_parent_is_refused(hub: LoopbackHub, api: "HfApi") -> None:
    from huggingface_hub.errors import HfHubHTTPError

    parent = hub.put("tester/stale", {"a.txt": b"1"})
    hub.before_commit = lambda: publish(api, "tester/stale", {"rival.txt": b"2"})

    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as refused:
        publish(api, "tester/stale", {"a.txt": b"3"}, parent)

    assert refused.value.response.status_code == 412
    assert set(hub.repo("tester/stale").at().files) == {".gitattributes", "a.txt", "rival.txt"}
    assert hub.repo("tester/stale").at().files["a.txt"].content == b"1"


@pytest.mark.parametrize(
    ("token", "repo_id", "verb", "error", "status"),
    [
        (False, "tester/secret", "read", "RepositoryNotFoundError", 401),
        (STRANGER_TOKEN, "tester/secret", "read", "RepositoryNotFoundError", 404),
        ("hf_wrong", "tester/secret", "read", "HfHubHTTPError", 401),
        (WRITE_TOKEN, "tester/missing", "read", "RepositoryNotFoundError", 404),
        (False, "tester/secret", "write", "RepositoryNotFoundError", 401),
        (False, "tester/open", "write", "HfHubHTTPError", 401),
        (READ_TOKEN, "tester/secret", "write", "HfHubHTTPError", 403),
        (STRANGER_TOKEN, "tester/open", "write", "HfHubHTTPError", 403),
        (READ_TOKEN, "tester/new", "create", "HfHubHTTPError", 403),
        (WRITE_TOKEN, "other/new", "create", "HfHubHTTPError", 403),
        (WRITE_TOKEN, "tester/open", "create", "HfHubHTTPError", 409),
    ],
)
def test_who_may_not_is_told_why(
    hub: LoopbackHub, token: str | bool, repo_id: str, verb: str, error: str, status: int
) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    hub.put("tester/secret", {"a.txt": b"1"}, private=True)
    hub.put("tester/open", {"a.txt": b"1"})
    api = HfApi(endpoint=hub.url, token=token)

    with pytest.raises(HfHubHTTPError) as refused:
        if verb == "read":
            api.repo_info(repo_id, repo_type="dataset")
        elif verb == "write":
            publish(api, repo_id, {"a.txt": b"2"})
        else:
            api.create_repo(repo_id, repo_type="dataset")

    assert (type(refused.value).__name__, refused.value.response.status_code) == (error, status)


def test_what_the_reader_and_owner_may_do(hub: LoopbackHub, api: "HfApi") -> None:
    hub.put("tester/mine", {"a.txt": b"1"}, private=True)

    assert api.whoami()["name"] == "tester"
    assert api.repo_info("tester/mine", repo_type="dataset", token=READ_TOKEN).private is True
    assert api.create_repo("tester/mine", repo_type="dataset", exist_ok=True).repo_id == "tester/mine"
    api.update_repo_settings("tester/mine", repo_type="dataset", private=False)
    assert api.dataset_info("tester/mine", token=False, files_metadata=True).private is False
    api.delete_repo("tester/mine", repo_type="dataset")
    assert not api.repo_exists("tester/mine", repo_type="dataset")


def test_tags_name_a_commit_and_do_not_move(hub: LoopbackHub, api: "HfApi") -> None:
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    old = hub.put("tester/tags", {"a.txt": b"1"})
    api.create_tag("tester/tags", tag="v1", revision=old, repo_type="dataset")
    new = hub.put("tester/tags", {"a.txt": b"2"})

    refs = api.list_repo_refs("tester/tags", repo_type="dataset")
    commits = api.list_repo_commits("tester/tags", repo_type="dataset")

    assert [(tag.name, tag.target_commit) for tag in refs.tags] == [("v1", old)]
    assert [branch.target_commit for branch in refs.branches] == [new]
    assert [commit.commit_id for commit in commits][:2] == [new, old]
    assert api.repo_info("tester/tags", revision="v1", repo_type="dataset").sha == old
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag("tester/tags", tag="v1", repo_type="dataset")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info("tester/tags", revision="v2", repo_type="dataset")


@pytest.mark.parametrize(
    "head", ["license: [mit", "- a list", "license: {name: mit}", "license: [1]"], ids=lambda head: str(head)
)
def test_a_broken_card_is_refused_before_anything_is_sent(hub: LoopbackHub, api: "HfApi", head: str) -> None:
    hub.put("tester/card", {})
    card = f"---\n{head}\n---\n".encode()

    with pytest.raises(ValueError, match="Invalid metadata in README"):
        publish(api, "tester/card", {"README.md": card, "a.parquet": b"PAR1"})

    assert [seen.path for seen in hub.requests] == ["/api/validate-yaml"]


def test_a_commit_whose_answer_is_lost_has_happened(hub: LoopbackHub, api: "HfApi") -> None:
    import httpx2

    hub.put("tester/lost", {})
    hub.fault("POST", r"/commit/main$", "lost")

    with pytest.raises(httpx2.TransportError):
        publish(api, "tester/lost", dataset_files())
    again = publish(api, "tester/lost", dataset_files())

    assert hub.repo("tester/lost").at().sha == again
    assert [c.message for c in hub.repo("tester/lost").history()] == ["publish", "put", "initial commit"]
    assert Seen("POST", "/api/datasets/tester/lost/commit/main", 0) in hub.requests


def test_dropped_refused_and_late_requests_are_tried_again(
    hub: LoopbackHub, api: "HfApi", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.put("tester/retry", {})
    hub.fault("POST", "/preupload/", 503, times=2)
    hub.fault("PUT", "/storage/", "drop", skip=1)
    hub.fault("POST", "/commit/", ("delay", 0.05))

    publish(api, "tester/retry", dataset_files())

    assert sorted(puts(hub)) == [0, 200, 200]
    assert [s.status for s in hub.requests if "/preupload/" in s.path] == [503, 503, 200]


def test_a_commit_that_is_refused_changes_nothing(hub: LoopbackHub, api: "HfApi") -> None:
    from huggingface_hub.errors import HfHubHTTPError

    sha = hub.put("tester/refused", {})
    hub.fault("POST", "/commit/", 500)

    with pytest.raises(HfHubHTTPError, match="injected fault"):
        publish(api, "tester/refused", dataset_files())

    assert hub.repo("tester/refused").at().sha == sha


def test_a_tokenizer_is_read_from_a_model_repo(hub: LoopbackHub) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    made = Tokenizer(WordLevel({"one": 0, "two": 1}, unk_token="one"))
    hub.put("tester/model", {"tokenizer.json": made.to_str().encode()}, kind="models")

    assert Tokenizer.from_pretrained("tester/model").get_vocab() == {"one": 0, "two": 1}


def test_a_child_process_is_who_its_environment_says(hub: LoopbackHub, tmp_path: Path) -> None:
    code = "import huggingface_hub as h; print(h.get_token(), h.HfApi().repo_info('tester/kid').id)"
    hub.put("tester/kid", {"a.txt": b"1"}, kind="models", private=True)

    def run(token: str | None) -> subprocess.CompletedProcess[str]:
        inherited = os.environ | {"HF_TOKEN": "hf_inherited", "HF_HUB_OFFLINE": "1"}
        env = inherited | hub_environment(hub.url, tmp_path / "home", token)
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)

    assert run(READ_TOKEN).stdout == f"{READ_TOKEN} tester/kid\n"
    assert "RepositoryNotFoundError: 401" in run(None).stderr


def test_a_client_that_is_killed_while_sending_is_no_failure_of_the_server(hub: LoopbackHub) -> None:
    head = b"POST /api/validate-yaml HTTP/1.1\r\nContent-Length: 99\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(hub.url.rpartition(":")[2]))) as sender:
        sender.sendall(head + b'{"content": ')
        sender.shutdown(socket.SHUT_WR)
        answer = sender.recv(1)

    assert (answer, hub.requests, hub.bugs) == (b"", [], [])


def test_a_failure_of_the_server_itself_is_kept_apart(hub: LoopbackHub, api: "HfApi") -> None:
    import httpx2

    hub.put("tester/bug", {})
    hub.before_commit = lambda: hub.repo("tester/rival")

    with pytest.raises(httpx2.TransportError):
        publish(api, "tester/bug", {"a.txt": b"1"})

    assert [repr(bug) for bug in hub.bugs] == ["KeyError(('datasets', 'tester/rival'))"]
    hub.bugs.clear()
