"""Publishing: the dataset folder to a repository on the Hugging Face Hub, in one commit.

In: `dataset/` and the recipe's `publish`. Out: the address of the commit. What would be sent is compared with
what is there by hash: unchanged content makes no commit. One `create_commit` holds data, card, manifest and
deletions, guarded by the revision that was compared with, so that nobody ever sees half a dataset (neither
`push_to_hub` nor `upload_folder` gives that). Afterwards the repository's hashes are compared again. The token
is huggingface_hub's own affair and shows nowhere.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import mixdistill
from mixdistill.cards.dataset import dataset_files
from mixdistill.errors import HubError, RecipeError
from mixdistill.files import file_digest
from mixdistill.recipe import Publish, Recipe
from mixdistill.run import Run

if TYPE_CHECKING:
    import huggingface_hub

_OWNED = ("data/", "plots/")  # files under these that we did not make are deleted, others are left alone
_TIMEOUT_SECONDS = 120.0  # the client's own default is to wait for ever
_REFUSED = {
    401: "no token, or one that it does not know; run 'hf auth login' or set HF_TOKEN",
    403: "the token may not write there; use one with write access, or another publish.repo",
    404: "no such place for this token; look at publish.repo",
    409: "another commit came in between; publish again",
    412: "another commit came in between; publish again",
}


class Change(NamedTuple):
    """One file of a publish."""

    action: Literal["add", "delete", "keep"]
    path: str
    "Inside the repository."
    bytes: int


class PublishPlan(NamedTuple):
    """What a publish would do."""

    repo: str
    private: bool
    exists: bool
    head: str | None
    "Revision that the plan was made against."
    changes: list[Change]

    def sends(self) -> list[Change]:
        """The changes that are more than keeping what is there."""
        return [change for change in self.changes if change.action != "keep"]


def plan_publish(recipe: Recipe, run: Run) -> PublishPlan:
    """What publishing would add, keep and delete. Writes nothing and makes no repository.

    Raises RecipeError without `publish`, HubError if the Hub refuses or a public repository is to be private.
    """
    publish = _publish_settings(recipe)
    files = {path.relative_to(run.dataset).as_posix(): path for path in dataset_files(run)}
    import huggingface_hub.errors

    with _hub(publish.repo) as api:
        try:
            info = api.dataset_info(publish.repo)
        except huggingface_hub.errors.RepositoryNotFoundError as error:
            if _status(error) == 401:
                raise
            added = [Change("add", name, path.stat().st_size) for name, path in files.items()]
            return PublishPlan(publish.repo, publish.private, False, None, added)
        if publish.private and not info.private:
            raise HubError(
                f"{publish.repo} is public and the recipe says private; set publish.private=false, or make it "
                "private in its settings on the Hub"
            )
        there = {
            entry.path: entry
            for entry in api.list_repo_tree(publish.repo, repo_type="dataset", revision=info.sha, recursive=True)
            if isinstance(entry, huggingface_hub.RepoFile)
        }
    changes = [
        Change("keep" if _same(path, there.get(name)) else "add", name, path.stat().st_size)
        for name, path in files.items()
    ]
    gone = [
        Change("delete", name, entry.size)
        for name, entry in there.items()
        if name.startswith(_OWNED) and name not in files
    ]
    return PublishPlan(publish.repo, bool(info.private), True, info.sha, changes + gone)


def publish_dataset(recipe: Recipe, run: Run, plan: PublishPlan | None = None) -> dict[str, int | str]:
    """Sends the dataset; returns `added`, `deleted`, `kept`, `bytes`, `revision` and `url`.

    `plan` is what a person has seen and agreed to: if the repository has changed since, nothing is sent.

    Raises HubError if the Hub refuses, or if afterwards it does not hold what was sent.
    """
    import huggingface_hub

    plan = plan or plan_publish(recipe, run)
    changes, revision = plan.sends(), plan.head
    with _hub(plan.repo) as api:
        if not plan.exists:
            api.create_repo(plan.repo, repo_type="dataset", private=plan.private)
            revision = api.dataset_info(plan.repo).sha
        if changes:
            operations: list[huggingface_hub.CommitOperationAdd | huggingface_hub.CommitOperationDelete] = []
            for change in changes:
                if change.action == "delete":
                    operations.append(huggingface_hub.CommitOperationDelete(change.path))
                else:
                    operations.append(huggingface_hub.CommitOperationAdd(change.path, run.dataset / change.path))
            commit = api.create_commit(
                plan.repo,
                operations,
                repo_type="dataset",
                commit_message=f"Publish {recipe.name} with mixdistill {mixdistill.__version__}",
                commit_description=f"Content: {_content_digest(run)}",
                parent_commit=revision,
            )
            revision = commit.oid
        url = f"{api.endpoint}/datasets/{plan.repo}/tree/{revision}"
    left = plan_publish(recipe, run).sends()
    if left:
        raise HubError(
            f"{plan.repo}: after the commit {left[0].path} is not what was sent; publish again, or see whether a "
            ".gitignore there leaves it out"
        )
    added = [change for change in changes if change.action == "add"]
    return {
        "added": len(added), "deleted": len(changes) - len(added), "kept": len(plan.changes) - len(changes),
        "bytes": sum(change.bytes for change in added), "revision": str(revision), "url": url,
    }  # fmt: skip


def _publish_settings(recipe: Recipe) -> Publish:
    if recipe.publish is None:
        raise RecipeError("the recipe has no 'publish'; add publish: {repo: owner/name} or --set publish.repo=...")
    return recipe.publish


@contextmanager
def _hub(repo: str) -> "Iterator[huggingface_hub.HfApi]":
    """The client, with its errors turned into ours."""
    import httpx2
    import huggingface_hub
    import huggingface_hub.errors

    huggingface_hub.get_session().timeout = _TIMEOUT_SECONDS
    try:
        yield huggingface_hub.HfApi(library_name="mixdistill", library_version=mixdistill.__version__)
    except huggingface_hub.errors.LocalTokenNotFoundError as error:
        raise HubError("no token; run 'hf auth login' or set HF_TOKEN") from error
    except (huggingface_hub.errors.HfHubHTTPError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else error  # a failed upload is wrapped in one
        raise HubError(f"{repo}: {_refusal(cause or error)}") from error
    except (httpx2.TransportError, OSError) as error:
        raise HubError(
            f"{repo}: the Hub cannot be reached ({type(error).__name__}); nothing is half published, publish again"
        ) from error
    except UnicodeEncodeError as error:
        raise HubError("the token is not plain ASCII; run 'hf auth login' or set HF_TOKEN") from error
    except huggingface_hub.errors.HFValidationError as error:
        raise RecipeError(f"publish.repo: {error}") from error
    except ValueError as error:
        raise HubError(f"{repo}: the Hub does not take the card: {' '.join(str(error).split())[:300]}") from error


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _refusal(error: BaseException) -> str:
    status = _status(error)
    if status is None:
        return f"the Hub cannot be reached ({type(error).__name__}); publish again"
    return f"the Hub answered {status}: {_REFUSED.get(status, 'publish again later')}"


def _same(path: Path, entry: "huggingface_hub.RepoFile | None") -> bool:
    """Whether the repository has this very file: by SHA-256 for large ones, by git's own hash for others."""
    if entry is None or entry.size != path.stat().st_size:
        return False
    if entry.lfs is not None:
        return entry.lfs.sha256 == file_digest(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == entry.blob_id


def _content_digest(run: Run) -> str:
    return file_digest(run.dataset / "manifest.json")
