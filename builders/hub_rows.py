"""Rows of a dataset on the Hugging Face Hub, one at a time.

In: a dataset id, config, split and revision. Out: the same `Row`s that a file gives. Streams, so that a large
set is not downloaded for its first rows. Says nothing about what the columns mean.
"""

from collections.abc import Iterator
from pathlib import Path

from mixdistill.errors import HubError
from mixdistill.files import Row


def read_hub_rows(hub: str, *, config: str | None, split: str, revision: str | None) -> Iterator[Row]:
    """The rows of a split. `config=None`: 'default' or 'main' if there is one, else all configs in turn.

    Raises HubError if the Hub cannot be reached, refuses, or has no such dataset, config or split.
    """
    import datasets
    import httpx2
    import huggingface_hub.errors

    if Path(hub).exists():  # `datasets` would read that instead, under the Hub's name
        raise HubError(f"{hub}: a local file or folder of this name is in the way; use 'file', or run elsewhere")
    try:
        for name in _configs(hub, config, revision):
            rows = datasets.load_dataset(hub, name, split=split, revision=revision, streaming=True)
            for number, values in enumerate(rows, 1):
                yield Row(f"{hub}/{name}/{split}:{number}", dict(values))
    except huggingface_hub.errors.HfHubHTTPError as error:
        raise HubError(f"{hub}: {_status(error)}; see 'hf auth login', or the name of the dataset") from error
    except datasets.exceptions.DatasetNotFoundError as error:
        raise HubError(f"{hub}: {error} See 'hf auth login', if it is private or gated") from error
    except (OSError, ValueError, datasets.exceptions.DatasetsError, httpx2.TransportError) as error:
        raise HubError(f"{hub}: {' '.join(str(error).split())[:300]}") from error
    except StopIteration as error:  # what datasets 5.2 raises for a file without a row
        raise HubError(f"{hub}: a file of split {split} is empty") from error


def _configs(hub: str, config: str | None, revision: str | None) -> list[str]:
    import datasets

    if config is not None:
        return [config]
    names: list[str] = datasets.get_dataset_config_names(hub, revision=revision)
    usual: list[str] = [name for name in ("default", "main") if name in names]
    return usual[:1] or names


def _status(error: Exception) -> str:
    response = getattr(error, "response", None)
    code = getattr(response, "status_code", None)
    return f"the Hub answered {code}" if code else "the Hub cannot be reached"
