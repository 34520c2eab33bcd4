"""What a recipe may say about scoring traces under the student: by which measure, by which engine.

Settings only; the measures are `builders.surprise`, and `builders.scores` computes them.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mixdistill.recipe_part import Part
from mixdistill.yaml_file import PlacedError

Metric = Literal["mean_logprob", "rank_surprisal_ratio", "local_naturalness"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class Scoring(Part):
    """How the student scores traces."""

    metric: Metric = "mean_logprob"
    """What is compared. mean_logprob: how likely the trace is to the student, per token. rank_surprisal_ratio:
    whether it is unlikely and yet among what the student would say. local_naturalness: how likely each sentence is
    after the few before it: long traces take several times as long, and it is computed only when it is chosen."""
    engine: Literal["transformers", "vllm"] = "transformers"
    "What computes it."
    max_tokens: Annotated[int, Field(ge=2)] | None = None
    "Longer texts, question and trace together, are not scored; default: as many as the student can read."
    window: Annotated[int, Field(ge=0)] = 4
    "Sentences before each one that local_naturalness shows the student, besides the question."
    batch_tokens: Annotated[int, Field(ge=16)] | None = None
    "Tokens computed at once; less takes less memory. Default: 1024 on a CPU, 8192 on a GPU; vLLM has its own."
    dtype: Dtype = "auto"
    "auto: bfloat16 on a GPU, float32 on a CPU."
    device: Annotated[str, Field(pattern=r"^(auto|[a-z]+(:\d+)?)$")] = "auto"
    "torch's name of the device, such as cuda:1; auto: a GPU where there is one. vLLM finds its own."
    revision: str | None = None
    "Branch, tag or commit of the student on the Hub."
    engine_args: dict[str, object] = Field(default_factory=dict)
    "More arguments of vLLM's engine, such as tensor_parallel_size; in the names of vLLM's Python API."

    @model_validator(mode="after")
    def _of_the_engine(self) -> Self:
        if self.engine != "vllm" and self.engine_args:
            raise PlacedError(("engine_args",), "are for engine: vllm")
        if self.engine == "vllm" and self.device != "auto":
            raise PlacedError(
                ("device",), "is for engine: transformers; vLLM takes what CUDA_VISIBLE_DEVICES names"
            )
        return self


def preferred(metric: Metric) -> Literal["high", "low"]:
    """Which end of a measure the papers take traces from.

    High for the mean log-probability (GRAPE, arXiv 2502.04194) and the local one (arXiv 2510.03988); low for the
    rank-surprisal ratio (arXiv 2601.14249).
    """
    return "low" if metric == "rank_surprisal_ratio" else "high"
