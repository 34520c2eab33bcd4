"""Which weights the name of a student stands for.

In: a folder, or a model on the Hub. Out: a folder with its tokenizer and configuration, the commit, and an
identity that changes when its answers may: the commit on the Hub, else a hash of configuration, tokenizer and
weights.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mixdistill.errors import HubError, RecipeError
from mixdistill.files import file_digest
from mixdistill.records import digest

_FILES = (
    "adapter_config.json", "added_tokens.json", "config.json", "merges.txt", "special_tokens_map.json",
    "tokenizer.json", "tokenizer_config.json", "vocab.json",
)  # fmt: skip
_WEIGHTS = (".safetensors", ".bin", ".model")
# What trainers leave beside the weights.
_NOT_WEIGHTS = ("optimizer.bin", "scheduler.bin", "training_args.bin")
# All that is needed of a model on the Hub but its weights.
_SMALL_FILES = ("*.json", "*.jinja", "*.model", "merges.txt")


class Weights(NamedTuple):
    """A model that is to be trained."""

    name: str
    "Folder, or id on the Hub."
    revision: str | None
    "Commit on the Hub; None for a folder."
    identity: str
    "Equal only for the same weights, tokenizer and configuration."
    folder: str
    "Where its tokenizer and its configuration are."


def find_weights(name: str, revision: str | None = None) -> Weights:
    """The weights of that name. Those in a folder are read through, at a gigabyte a second or so.

    Raises RecipeError for a file, or a folder without a model, HubError if the Hub has no such model or cannot be
    reached.
    """
    folder = Path(name)
    if folder.is_dir():
        if revision is not None:
            raise RecipeError(f"mixing.scoring.revision is for a student on the Hub, and {name} is a folder")
        return Weights(name, None, digest(*_contents(folder)), name)
    if folder.exists():
        raise RecipeError(
            f"mixing.student: {name} is a file; to score traces, name the folder or Hub id of a model"
        )
    cached = _download(name, revision)
    return Weights(name, cached.name, cached.name, str(cached))  # the cache has a folder for each commit


def _contents(folder: Path) -> Iterator[str]:
    if not (folder / "config.json").is_file():
        raise RecipeError(f"mixing.student: {folder} has no config.json, so there is no model in it")
    for path in sorted(folder.iterdir()):
        weights = path.suffix in _WEIGHTS and path.name not in _NOT_WEIGHTS
        if path.is_file() and (weights or path.name in _FILES):
            yield from (path.name, str(path.stat().st_size), file_digest(path))


def _download(name: str, revision: str | None) -> Path:
    """The small files of a revision as it is now, or, without a network, as it was when it was last downloaded."""
    import httpx2
    import huggingface_hub
    import huggingface_hub.errors

    place = f"mixing.student: {name}"
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=[*_SMALL_FILES]))
    except huggingface_hub.errors.LocalEntryNotFoundError as error:
        raise HubError(f"{place}: the Hub cannot be reached") from error
    except (huggingface_hub.errors.HfHubHTTPError, huggingface_hub.errors.HFValidationError) as error:
        told = " ".join(str(error).split())[:300]
        raise HubError(f"{place}: no such folder, and no such model on the Hub: {told}") from error
    except (OSError, httpx2.TransportError) as error:
        raise HubError(f"{place}: {' '.join(str(error).split())[:300]}") from error
