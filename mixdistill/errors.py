"""What can go wrong that a person can put right.

    MixdistillError          exit 1   could not be done
    ├── RecipeError          exit 2   the recipe or an option is wrong
    ├── RecordError          exit 1   a file or a row cannot be read
    ├── StorageError         exit 1   a file cannot be written, or is missing
    ├── TeacherError         exit 1   a teacher cannot be reached or refuses
    ├── ClusterError         exit 1   the Ray cluster cannot do it
    ├── HubError             exit 1   the Hub cannot be reached or refuses
    ├── BudgetReached        exit 3   a budget is spent; the same command goes on later
    └── MissingExtraError    exit 1   an optional package is not installed

Every message names the place and the way out, and never holds a token. The command line prints it as one
line; a bug keeps its traceback.
"""


class MixdistillError(Exception):
    """Something that could not be done; its message names the place and the way out."""

    exit_code = 1


class RecipeError(MixdistillError):
    """The recipe, or an option on the command line, is wrong."""

    exit_code = 2


class RecordError(MixdistillError):
    """A file or a row in it cannot be read as what it should be."""


class StorageError(MixdistillError):
    """A file cannot be written, or one that an earlier stage makes is missing."""


class TeacherError(MixdistillError):
    """A teacher cannot be reached, refuses, or fails for every request."""


class BudgetReached(MixdistillError):
    """A budget is spent, and something is still to be asked; the same command goes on later."""

    exit_code = 3


class ClusterError(MixdistillError):
    """The Ray cluster cannot be reached, or stopped."""


class HubError(MixdistillError):
    """The Hugging Face Hub cannot be reached or refuses."""


class MissingExtraError(MixdistillError):
    """An optional package is not installed; the message is the command that installs it."""

    def __init__(self, package: str, command: str) -> None:
        super().__init__(f"{package} is not installed; run: {command}")
