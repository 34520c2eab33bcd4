"""What the parts of a recipe share: strictness, names, addresses, paths beside the recipe, sources of rows."""

import re
from pathlib import Path
from typing import Annotated, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from mixdistill.prompt import is_file

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


def _listed(value: object) -> object:
    """A list also where one entry stands alone."""
    return (value,) if isinstance(value, str) else value


def _are_http(urls: tuple[str, ...]) -> tuple[str, ...]:
    for number, url in enumerate(urls, 1):
        if not re.match(r"https?://[^\s/@]+(/\S*)?$", url):
            which = f"number {number} " if len(urls) > 1 else ""
            raise ValueError(
                f"{which}is not an http(s) address (a key belongs into the variable api_key_env names)"
            )
    return tuple(url.rstrip("/") for url in urls)


Addresses = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_are_http), Field(min_length=1)]


class Part(BaseModel):
    """A part of a recipe: an unknown key is an error, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Part):
    """A file, or a dataset on the Hub."""

    file: Path | None = None
    "JSONL, CSV or Parquet file, relative to the recipe."
    hub: str | None = None
    "Dataset on the Hugging Face Hub, owner/name."
    config: str | None = None
    "Config of the Hub dataset; default: 'default' or 'main' if there is one, else all of them."
    split: str = "train"
    "Split of the Hub dataset."
    revision: str | None = None
    "Branch, tag or commit of the Hub dataset."

    def one_of(self, *names: str) -> None:
        """Raises ValueError unless exactly one of the keys is set."""
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"needs exactly one of {', '.join(names)}")

    @field_validator("file")
    @classmethod
    def _resolve(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return path if path is None else resolve_path(path, info)


def resolve_path(path: Path, info: ValidationInfo) -> Path:
    """The path beside the recipe; if it is not there but in the current folder, as with --set, the one there."""
    folder = cast("dict[str, Path]", info.context or {}).get("folder", Path())
    try:
        beside, here = folder / path.expanduser(), Path.cwd() / path.expanduser()
        return here if is_file(here) and not is_file(beside) else beside
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error
