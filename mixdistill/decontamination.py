"""What a recipe may say about decontamination: the benchmarks, and how alike is too alike.

The benchmarks that have a name stand here with where the Hub has them; reading them is `builders.benchmarks`.
"""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from mixdistill.recipe_part import Name, Part, Source
from mixdistill.yaml_file import near

# Where the usual evaluation code takes them from. MATH-500: the 500 of "Let's Verify Step by Step" (PRM800K).
# AMC23, AIME24, AIME25: the 40, 30 and 30 problems of the math-ai collection. OlympiadBench (arXiv 2402.14008):
# the open-ended, text-only, English maths competition problems, 674, which the authors' dataset files under
# "train".
BENCHMARKS: dict[str, dict[str, str]] = {
    "math-500": {"hub": "HuggingFaceH4/MATH-500", "split": "test", "problem": "problem"},
    "gsm8k": {"hub": "openai/gsm8k", "config": "main", "split": "test", "problem": "question"},
    "amc23": {"hub": "math-ai/amc23", "split": "test", "problem": "question"},
    "aime24": {"hub": "math-ai/aime24", "split": "test", "problem": "problem"},
    "aime25": {"hub": "math-ai/aime25", "split": "test", "problem": "problem"},
    "olympiadbench": {
        "hub": "Hothan/OlympiadBench", "config": "OE_TO_maths_en_COMP", "split": "train", "problem": "question",
    },
}  # fmt: skip

Share = Annotated[float, Field(gt=0, le=1)]


class Benchmark(Source):
    """A benchmark that no problem may come from: one of file, hub."""

    split: str = "test"
    "Split of the Hub dataset."
    problem: str | None = None
    "Column that holds the problem; default: problem, question or prompt."
    name: Name | None = None
    "What it is called; default: the file's name or the Hub id without the owner."

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.one_of("file", "hub")
        return self

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or (self.file.stem if self.file is not None else str(self.hub).rpartition("/")[2])


def _named(value: object) -> object:
    """What stands behind the name of a benchmark."""
    if not isinstance(value, str):
        return value
    if value not in BENCHMARKS:
        raise ValueError(f"no benchmark {value!r}{near(value, list(BENCHMARKS))}")
    return {"name": value, **BENCHMARKS[value]}


class Decontaminate(Part):
    """Which problems are left out because they stand in a benchmark, or in this set already."""

    against: tuple[Annotated[Benchmark, BeforeValidator(_named)], ...] = ()
    "Benchmarks, by name (math-500, gsm8k, amc23, aime24, aime25, olympiadbench), or as file or hub."
    ngram: Annotated[int, Field(ge=8)] = 13
    """Words, numbers and signs in a row that a problem shares with one of a benchmark, again and again over half
    of the shorter text, to be a hit; 13 as in GPT-3. A text of fewer, but of 8 or more, counts where all of it
    stands in the other."""
    fuzzy: Annotated[float, Field(ge=50, le=100)] | None = 80
    """Likeness of the words, numbers masked and order ignored, from which on it is a hit, in percent of the
    letters; unrelated problems of benchmarks, eight different words long or longer, had at most 75. null: not
    tested."""
    minhash: Share | None = 0.6
    """Jaccard similarity of the pairs of neighbouring words, numbers masked, from which on it is a hit; candidates
    are found by MinHash. Unrelated problems had at most 0.4. null: not tested."""
    renumbered: bool = True
    "Whether it is a hit if nothing but the numbers differs, in problems of seven different words or signs."
    duplicates: Share | None = 0.8
    """Jaccard similarity of pairs of neighbouring words and signs from which on the second of two problems of the
    set is left out, if both have the same numbers and the same reference. If all words are the same, but for case,
    punctuation, articles and the spelling of LaTeX, the reference may differ. Problems of generators are exempt,
    for a word may be all that tells them apart. null: all are kept."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        titles = [benchmark.title for benchmark in self.against]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"two benchmarks are called {title!r}; give one of them another name")
        return self
