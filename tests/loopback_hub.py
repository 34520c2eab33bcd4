"""A Hugging Face Hub in memory on loopback, for tests with the real clients.

Answers what huggingface_hub 2.4, datasets 5.2 and tokenizers ask when they create, publish to, read,
tag and delete dataset and model repos: the Hub API, LFS uploads, and files served from a second origin.
Faults can be put in the way of any request. The requests were taken from the clients' source, the
refusals from hub-docs, so this proves the client's half only.
It does not do Xet, pull requests, multipart uploads, organisations, gating or paging.
"""

import base64
import hashlib
import http.server
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from functools import cache, cached_property
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

WRITE_TOKEN = "hf_loopback_write"
READ_TOKEN = "hf_loopback_read"
STRANGER_TOKEN = "hf_loopback_stranger"

Kind = Literal["datasets", "models"]
Action = int | Literal["drop", "lost"] | tuple[Literal["delay"], float]

_LFS_SUFFIXES = (".parquet", ".png")
_LFS_BYTES = 10 * 1024 * 1024
"""Above this size the Hub takes a file only as LFS (hub-docs: 10 MB)."""
_GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in _LFS_SUFFIXES)


def hub_environment(hub_url: str, home: Path, token: str | None) -> dict[str, str]:
    """Variables that point the clients at `hub_url` only, with caches under a fresh `home`.

    They win over whatever was inherited: `env=os.environ | hub_environment(...)`. The clients read
    them when they are imported. `token=None` means logged out.
    """
    return {
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_ASSETS_CACHE": str(home / "assets"),
        "HF_DATASETS_CACHE": str(home / "datasets"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_TOKEN": token or "",
        "HUGGING_FACE_HUB_TOKEN": "",
        "HF_OIDC_RESOURCE": "",
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # otherwise datasets asks s3.amazonaws.com
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


class User(NamedTuple):
    """Who a token belongs to and what it may do in its own namespace."""

    name: str
    role: Literal["read", "write"]


_USERS = {
    WRITE_TOKEN: User("tester", "write"),
    READ_TOKEN: User("tester", "read"),
    STRANGER_TOKEN: User("stranger", "write"),
}


class Seen(NamedTuple):
    """One request in the log."""

    method: str
    path: str
    """Still quoted, with its query."""
    status: int
    """0 when the connection was closed without an answer."""


@dataclass
class Fault:
    """What befalls the next requests of one kind."""

    method: str
    path_regex: str
    action: Action
    times: int
    skip: int


class Refusal(Exception):
    """An answer that is an error, in the Hub's words."""

    def __init__(self, status: int, message: str, code: str = "", **extra: object) -> None:
        super().__init__(message)
        in_ascii = message.encode("ascii", "replace").decode()
        headers = {"X-Error-Message": in_ascii} | ({"X-Error-Code": code} if code else {})
        self.answer = _json_answer({"error": message, **extra}, status, headers)


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Call:
    """One request, taken apart."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    named: dict[str, str] = field(default_factory=dict)
    """What the path names, unquoted: kind, repo_id, revision, path."""

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters behind the question mark."""
        return parse_qs(urlsplit(self.path).query)

    def json(self) -> dict[str, Any]:
        """The body as one JSON object."""
        sent: dict[str, Any] = json.loads(self.body)
        return sent

    def user(self) -> User | None:
        """The owner of the token; None without a token. Refuses an unknown one."""
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in _USERS:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return _USERS.get(token)


@dataclass(frozen=True)
class Blob:
    """The content of a file, kept in git or, when `is_lfs`, beside it."""

    content: bytes
    is_lfs: bool

    @cached_property
    def sha256(self) -> str:
        """What LFS knows the content by."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        """What git stores for an LFS file."""
        head = "version https://git-lfs.github.com/spec/v1"
        return f"{head}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @cached_property
    def blob_id(self) -> str:
        """The git object id, of the pointer for an LFS file."""
        stored = self.pointer if self.is_lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        """What a client compares its own file with."""
        return self.sha256 if self.is_lfs else self.blob_id


@dataclass(frozen=True)
class Commit:
    """One commit with all files of its tree."""

    sha: str
    parent: str | None
    message: str
    description: str
    files: dict[str, Blob]
    date: str


@dataclass
class Repo:
    """A repo: commits, and the names that point at them."""

    kind: Kind
    repo_id: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str = "main") -> Commit:
        """The commit that a branch, tag or sha names."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        if sha not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def history(self, revision: str = "main") -> Iterator[Commit]:
        """The commit and its ancestors, newest first."""
        sha: str | None = self.at(revision).sha
        while sha is not None:
            yield self.commits[sha]
            sha = self.commits[sha].parent

    def commit(self, files: dict[str, Blob], message: str, description: str = "", branch: str = "main") -> Commit:
        """Make `files` the whole tree of the branch."""
        parent = self.branches.get(branch)
        tree = sorted((path, blob.blob_id) for path, blob in files.items())
        identity = json.dumps([self.kind, self.repo_id, parent, next(_commit_numbers), message, tree])
        sha = hashlib.sha1(identity.encode()).hexdigest()
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.commits[sha] = Commit(sha, parent, message, description, files, date)
        self.branches[branch] = sha
        return self.commits[sha]

    @property
    def owner(self) -> str:
        """The user whose namespace it is in."""
        return self.repo_id.split("/")[0]

    def url(self, hub_url: str) -> str:
        """Where a browser would find it."""
        return f"{hub_url}/{'' if self.kind == 'models' else 'datasets/'}{self.repo_id}"


_commit_numbers = count()
"""Keeps shas apart: the clients' cache is keyed by repo id and sha, and outlives `clear`."""


class LoopbackHub:
    """The server and all that it knows; a context manager that starts and stops it."""

    token = WRITE_TOKEN
    """May write to the repos of "tester"."""

    def __init__(self) -> None:
        self.repos: dict[tuple[Kind, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        """LFS content by sha256; the Hub keeps one that no commit names."""
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        """Those that have not befallen all their requests yet."""
        self.bugs: list[BaseException] = []
        """Exceptions of the server itself: assert that there are none."""
        self.before_commit: Callable[[], object] | None = None
        """Called once, when the next commit has come in and before its parent is checked."""
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The endpoint for the clients."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def storage_url(self) -> str:
        """Where LFS content lies: the same server, but another origin to a client."""
        return f"http://localhost:{self._server.server_port}/storage"

    def start(self) -> None:
        """Serve until `stop`; a stopped hub cannot be started again."""
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and wait for the threads."""
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def clear(self) -> None:
        """Forget repos, objects, faults, hook, log and bugs."""
        with self._lock:
            self.before_commit = None
            for kept in (self.repos, self.objects, self.requests, self.faults, self.bugs):
                kept.clear()

    def fault(self, method: str, path_regex: str, action: Action, times: int = 1, skip: int = 0) -> None:
        """Let `action` befall `times` requests whose path matches, after `skip` that pass.

        A status is answered without doing the work; "drop" closes the connection instead of answering;
        "lost" does the work, then closes it; ("delay", seconds) waits, then works.
        """
        with self._lock:
            self.faults.append(Fault(method, path_regex, action, times, skip))

    def put(
        self, repo_id: str, files: Mapping[str, bytes], *, kind: Kind = "datasets", private: bool = False
    ) -> str:
        """The sha of a commit that adds files to main, in a new repo if there is none: a seed or a rival."""
        with self._lock:
            repo = self.repos.get((kind, repo_id)) or self.create(kind, repo_id, private=private)
            added = {path: Blob(content, _is_lfs(path, len(content))) for path, content in files.items()}
            self.objects.update({blob.sha256: blob.content for blob in added.values() if blob.is_lfs})
            return repo.commit(repo.at().files | added, "put").sha

    def create(self, kind: Kind, repo_id: str, *, private: bool) -> Repo:
        """Make a repo as the Hub does: its first commit holds .gitattributes."""
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private)
        repo.commit({".gitattributes": Blob(_GIT_ATTRIBUTES.encode(), is_lfs=False)}, "initial commit")
        return repo

    def repo(self, repo_id: str, kind: Kind = "datasets") -> Repo:
        """The repo as it is now, whatever its visibility; KeyError if there is none."""
        return self.repos[kind, repo_id]

    def answer(self, call: Call) -> Answer | None:
        """The answer to a request; None if there shall be none."""
        match self._take_fault(call):
            case int(status):
                return Refusal(status, "injected fault").answer
            case "drop":
                return None
            case "lost":
                self._work(call)
                return None
            case ("delay", seconds):
                self._stopping.wait(seconds)
        return self._work(call)

    def _take_fault(self, call: Call) -> Action | None:
        with self._lock:
            for fault in self.faults:
                if fault.method != call.method or not re.search(fault.path_regex, call.path):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
                return fault.action
        return None

    def _work(self, call: Call) -> Answer:
        if call.method == "POST" and "/commit/" in call.path:
            self._run_before_commit()
        try:
            with self._lock:
                return self._route(call)
        except Refusal as refusal:
            return refusal.answer

    def _run_before_commit(self) -> None:
        """Outside the lock, so that the rival may be a real client."""
        with self._lock:
            hook, self.before_commit = self.before_commit, None
        if hook is not None:
            hook()

    def _route(self, call: Call) -> Answer:
        method = "GET" if call.method == "HEAD" else call.method
        for route in _routes():
            found = re.fullmatch(route.pattern, urlsplit(call.path).path)
            if route.method == method and found is not None:
                named = {name: unquote(part) for name, part in found.groupdict().items() if part}
                return route.answer(self, replace(call, named=named))
        raise Refusal(404, f"no route for {call.method} {call.path}")

    def readable(self, call: Call) -> Repo:
        """The repo that the call names; a private one looks like a missing one to others than its owner."""
        user = call.user()
        kind: Kind = "datasets" if call.named.get("kind") == "datasets" else "models"
        repo = self.repos.get((kind, call.named["repo_id"]))
        if repo is None or (repo.private and (user is None or user.name != repo.owner)):
            raise Refusal(401 if user is None else 404, "Repository not found", "RepoNotFound")
        return repo

    def writable(self, call: Call) -> Repo:
        """The repo that the call names, if its token may write there."""
        repo = self.readable(call)
        if _logged_in(call) != User(repo.owner, "write"):
            raise Refusal(403, "Forbidden: you must use a write token of the owner of this repository")
        return repo


# The routes: what is asked, and which function answers; the functions follow in the same order.


class _Route(NamedTuple):
    method: str
    pattern: str
    answer: Callable[[LoopbackHub, Call], Answer]


@cache
def _routes() -> list[_Route]:
    repo = r"(?P<repo_id>[^/]+/[^/]+)"
    api = rf"/api/(?P<kind>datasets|models)/{repo}"
    web = rf"/(?:(?P<kind>datasets)/)?{repo}"
    rev = r"/(?P<revision>[^/]+)"
    return [
        _Route("GET", "/api/whoami-v2", _whoami),
        _Route("POST", "/api/validate-yaml", _validate_yaml),
        _Route("POST", "/api/repos/create", _create_repo),
        _Route("DELETE", "/api/repos/delete", _delete_repo),
        _Route("PUT", f"{api}/settings", _change_settings),
        _Route("GET", f"{api}(?:/revision{rev})?", _info),
        _Route("GET", f"{api}/tree{rev}(?:/(?P<path>.+))?", _tree),
        _Route("POST", f"{api}/paths-info{rev}", _paths_info),
        _Route("GET", f"{api}/refs", _refs),
        _Route("GET", f"{api}/commits{rev}", _commits),
        _Route("POST", f"{api}/tag{rev}", _create_tag),
        _Route("POST", f"{api}/preupload{rev}", _preupload),
        _Route("POST", rf"{web}\.git/info/lfs/objects/batch", _lfs_batch),
        _Route("PUT", "/storage/(?P<oid>[0-9a-f]{64})", _store),
        _Route("POST", rf"{web}\.git/info/lfs/objects/verify", _lfs_verify),
        _Route("POST", f"{api}/commit{rev}", _commit),
        _Route("GET", f"{web}/resolve{rev}/(?P<path>.+)", _resolve),
        _Route("GET", "/storage/(?P<oid>[0-9a-f]{64})", _fetch),
    ]


def _json_answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))


def _whoami(hub: LoopbackHub, call: Call) -> Answer:
    user = _logged_in(call)
    token = {"displayName": "loopback", "role": user.role}
    return _json_answer({"type": "user", "name": user.name, "orgs": [], "auth": {"accessToken": token}})


def _logged_in(call: Call) -> User:
    user = call.user()
    if user is None:
        raise Refusal(401, "Invalid username or password.")
    return user


def _validate_yaml(hub: LoopbackHub, call: Call) -> Answer:
    head = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", call.json()["content"], re.DOTALL)
    if head is None:
        return _json_answer({"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]})
    message = _yaml_error(head[1])
    if message:
        raise Refusal(400, message, errors=[{"message": message}], warnings=[])
    return _json_answer({"errors": [], "warnings": []})


def _yaml_error(head: str) -> str:
    try:
        metadata = yaml.safe_load(head)
    except yaml.YAMLError as error:
        return f"YAML Metadata Error: {error}".replace("\n", " ")
    if not isinstance(metadata, dict):
        return "YAML Metadata Error: must be a mapping"
    stated = metadata.get("license", "")
    names = stated if isinstance(stated, list) else [stated]
    return "" if all(isinstance(name, str) for name in names) else '"license" must be a string or an array'


def _create_repo(hub: LoopbackHub, call: Call) -> Answer:
    user, asked = _logged_in(call), call.json()
    kind, repo_id = _named_in_body(user, asked)
    if user != User(repo_id.split("/")[0], "write"):
        raise Refusal(403, f"You don't have the rights to create {repo_id}")
    if (kind, repo_id) in hub.repos:
        url = hub.repo(repo_id, kind).url(hub.url)
        raise Refusal(409, "You already created this repo", url=url)
    repo = hub.create(kind, repo_id, private=asked.get("visibility") == "private")
    return _json_answer({"url": repo.url(hub.url), "name": repo_id, "id": repo_id})


def _delete_repo(hub: LoopbackHub, call: Call) -> Answer:
    kind, repo_id = _named_in_body(_logged_in(call), call.json())
    hub.writable(replace(call, named={"kind": kind, "repo_id": repo_id}))
    del hub.repos[kind, repo_id]
    return _json_answer({})


def _named_in_body(user: User, asked: dict[str, Any]) -> tuple[Kind, str]:
    kind: Kind = "datasets" if asked.get("type") == "dataset" else "models"
    return kind, f"{asked.get('organization') or user.name}/{asked['name']}"


def _change_settings(hub: LoopbackHub, call: Call) -> Answer:
    repo = hub.writable(call)
    repo.private = call.json().get("visibility", "private" if repo.private else "public") == "private"
    return _json_answer({"private": repo.private})


def _info(hub: LoopbackHub, call: Call) -> Answer:
    repo = hub.readable(call)
    commit = repo.at(call.named.get("revision", "main"))
    siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
    if "blobs" in call.query:
        for sibling in siblings:
            sibling.update(_described(commit.files[sibling["rfilename"]], "blobId", "sha256"))
    told = {"id": repo.repo_id, "author": repo.owner, "sha": commit.sha, "private": repo.private}
    dates = {"createdAt": list(repo.history())[-1].date, "lastModified": commit.date}
    return _json_answer(told | dates | {"gated": False, "tags": [], "siblings": siblings})


def _described(blob: Blob, id_name: str, sha256_name: str) -> dict[str, Any]:
    fields: dict[str, Any] = {id_name: blob.blob_id, "size": len(blob.content)}
    if blob.is_lfs:
        pointer_bytes = len(blob.pointer)
        fields["lfs"] = {sha256_name: blob.sha256, "size": len(blob.content), "pointerSize": pointer_bytes}
    return fields


def _tree(hub: LoopbackHub, call: Call) -> Answer:
    entries = _entries(hub.readable(call).at(call.named["revision"]).files)
    folder = call.named.get("path", "").strip("/")
    prefix = f"{folder}/" if folder else ""
    if folder and folder not in entries:
        raise Refusal(404, f"{folder} does not exist on this revision", "EntryNotFound")
    inside = [path for path in entries if path.startswith(prefix)]
    if call.query.get("recursive", ["false"])[0].lower() != "true":
        inside = [path for path in inside if "/" not in path.removeprefix(prefix)]
    return _json_answer([entries[path] for path in inside])


def _entries(files: dict[str, Blob]) -> dict[str, dict[str, Any]]:
    """Every file and folder of a tree by its path, as the API describes it."""
    entries: dict[str, dict[str, Any]] = {}
    for path, blob in sorted(files.items()):
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            oid = hashlib.sha1(f"tree {parent}".encode()).hexdigest()
            entries[str(parent)] = {"type": "directory", "oid": oid, "size": 0, "path": str(parent)}
        entries[path] = {"type": "file", "path": path, **_described(blob, "oid", "oid")}
    return entries


def _paths_info(hub: LoopbackHub, call: Call) -> Answer:
    entries = _entries(hub.readable(call).at(call.named["revision"]).files)
    asked = parse_qs(call.body.decode()).get("paths", [])
    return _json_answer([entries[path] for path in asked if path in entries])


def _refs(hub: LoopbackHub, call: Call) -> Answer:
    repo = hub.readable(call)

    def listed(names: dict[str, str], prefix: str) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{prefix}/{n}", "targetCommit": sha} for n, sha in names.items()]

    refs = {"branches": listed(repo.branches, "heads"), "tags": listed(repo.tags, "tags")}
    return _json_answer(refs | {"converts": [], "pullRequests": []})


def _commits(hub: LoopbackHub, call: Call) -> Answer:
    repo = hub.readable(call)
    told = [
        {
            "id": c.sha,
            "title": c.message,
            "message": c.description,
            "date": c.date,
            "authors": [{"user": repo.owner}],
        }
        for c in repo.history(call.named["revision"])
    ]
    return _json_answer(told)


def _create_tag(hub: LoopbackHub, call: Call) -> Answer:
    repo, tag = hub.writable(call), call.json()["tag"]
    if tag in repo.tags:
        raise Refusal(409, f"Tag {tag} already exists")
    repo.tags[tag] = repo.at(call.named["revision"]).sha
    return _json_answer({})


def _preupload(hub: LoopbackHub, call: Call) -> Answer:
    files, asked = hub.writable(call).at(call.named["revision"]).files, call.json()
    hosted = files[".gitignore"].content.decode() if ".gitignore" in files else ""
    ignored = asked.get("gitIgnore", hosted).split()
    return _json_answer({"files": [_upload_mode(sent, files, ignored) for sent in asked["files"]]})


def _upload_mode(sent: dict[str, Any], files: dict[str, Blob], ignored: list[str]) -> dict[str, Any]:
    path: str = sent["path"]
    names = (path, PurePosixPath(path).name)
    mode = {
        "path": path,
        "uploadMode": "lfs" if _is_lfs(path, sent["size"]) else "regular",
        "shouldIgnore": any(fnmatch(name, pattern) for pattern in ignored for name in names),
    }
    return mode | ({"oid": files[path].etag} if path in files else {})


def _is_lfs(path: str, n_bytes: int) -> bool:
    return n_bytes > 0 and (path.endswith(_LFS_SUFFIXES) or n_bytes > _LFS_BYTES)


def _lfs_batch(hub: LoopbackHub, call: Call) -> Answer:
    verify = {"href": f"{hub.writable(call).url(hub.url)}.git/info/lfs/objects/verify"}
    objects: list[dict[str, Any]] = call.json()["objects"]
    for wanted in objects:
        if wanted["oid"] not in hub.objects:
            wanted["actions"] = {"upload": {"href": f"{hub.storage_url}/{wanted['oid']}"}, "verify": verify}
    return _json_answer({"transfer": "basic", "objects": objects})


def _store(hub: LoopbackHub, call: Call) -> Answer:
    _refuse_token(call)
    if hashlib.sha256(call.body).hexdigest() != call.named["oid"]:
        raise Refusal(400, "the content is not what its sha256 says")
    hub.objects[call.named["oid"]] = call.body
    return Answer(200, b"", {})


def _refuse_token(call: Call) -> None:
    """Storage takes signed links and, like S3, no token beside them: it must not leave the Hub."""
    if "authorization" in call.headers:
        raise Refusal(400, "Only one auth mechanism allowed")


def _lfs_verify(hub: LoopbackHub, call: Call) -> Answer:
    hub.writable(call)
    sent = call.json()
    if len(hub.objects.get(sent["oid"], b"")) != sent["size"]:
        raise Refusal(404, f"object {sent['oid']} was not uploaded")
    return _json_answer({})


def _commit(hub: LoopbackHub, call: Call) -> Answer:
    repo, branch = hub.writable(call), call.named["revision"]
    if call.query.get("create_pr"):
        raise Refusal(400, "the loopback Hub has no pull requests")
    if branch not in repo.branches:
        raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    header, *operations = [json.loads(line) for line in call.body.splitlines()]
    head, told = repo.at(branch), header["value"]
    if not head.sha.startswith(told.get("parentCommit", "")):
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for operation in operations:
        _apply(hub.objects, files, operation["key"], operation["value"])
    made = repo.commit(files, told["summary"], told.get("description", ""), branch)
    url = f"{repo.url(hub.url)}/commit/{made.sha}"
    return _json_answer({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})


def _apply(objects: dict[str, bytes], files: dict[str, Blob], key: str, value: dict[str, str]) -> None:
    """Do one line of a commit to `files`."""
    path = value["path"]
    if key == "file":
        files[path] = Blob(base64.b64decode(value["content"]), is_lfs=False)
    elif key == "lfsFile":
        if value["oid"] not in objects:
            raise Refusal(400, f"LFS pointer of {path} pointed to a file that does not exist")
        files[path] = Blob(objects[value["oid"]], is_lfs=True)
    elif key in ("deletedFile", "deletedFolder"):
        folder = f"{path.rstrip('/')}/"
        doomed = [p for p in files if (p == path if key == "deletedFile" else p.startswith(folder))]
        if not doomed:
            raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        for old in doomed:
            del files[old]
    else:
        raise Refusal(400, f"unknown operation {key}")


def _resolve(hub: LoopbackHub, call: Call) -> Answer:
    commit, path = hub.readable(call).at(call.named["revision"]), call.named["path"]
    headers = {"X-Repo-Commit": commit.sha}
    if path not in commit.files:
        missing = Refusal(404, "Entry not found", "EntryNotFound").answer
        return missing._replace(headers=missing.headers | headers)  # clients remember what is not there
    blob = commit.files[path]
    if not blob.is_lfs:
        return _content_answer(call, blob.content, headers | {"ETag": f'"{blob.etag}"'})
    headers |= {"X-Linked-ETag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
    return Answer(302, b"", headers | {"Location": f"{hub.storage_url}/{blob.sha256}"})


def _fetch(hub: LoopbackHub, call: Call) -> Answer:
    _refuse_token(call)
    oid = call.named["oid"]
    if oid not in hub.objects:
        raise Refusal(404, "no such object")
    return _content_answer(call, hub.objects[oid], {"ETag": f'"{oid}"'})


def _content_answer(call: Call, content: bytes, headers: dict[str, str]) -> Answer:
    """The content, or the part that a Range header asks for."""
    headers = headers | {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("range", ""))
    if wanted is None or call.method == "HEAD":
        return Answer(200, content, headers)
    n_bytes = len(content)
    first = int(wanted[1]) if wanted[1] else max(n_bytes - int(wanted[2]), 0)
    last = min(int(wanted[2]), n_bytes - 1) if wanted[1] and wanted[2] else n_bytes - 1
    if first > last:
        return Answer(416, b"", headers | {"Content-Range": f"bytes */{n_bytes}"})
    span = f"bytes {first}-{last}/{n_bytes}"
    return Answer(206, content[first : last + 1], headers | {"Content-Range": span})


# HTTP: nothing of the Hub below this line.


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them

    def __init__(self, hub: LoopbackHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self._live: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._live.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._live.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        for connection in list(self._live):
            with suppress(OSError):  # its client was faster
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):  # a client may go away
            self.hub.bugs.append(error)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    """Head and body leave in one packet: 40 ms less for each answer."""
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        n_bytes = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(n_bytes)
        if len(body) < n_bytes:
            raise ConnectionAbortedError("the client was killed while it was sending")
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.hub.answer(Call(self.command, self.path, headers, body))
        self.server.hub.requests.append(Seen(self.command, self.path, answer.status if answer else 0))
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in (answer.headers | {"Content-Length": str(len(answer.body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the hub keeps a log."""
