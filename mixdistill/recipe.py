"""What a recipe may say: its keys, their defaults, and what must agree.

A Recipe is frozen; every default is filled in, every path is resolved against the recipe's folder and every
prompt is loaded. Finding, reading and explaining the YAML is `mixdistill.recipe_file`. Reads no data and calls
nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, cast

from pydantic import (
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mixdistill.decontamination import Decontaminate
from mixdistill.mixing import Mixing, Share
from mixdistill.recipe_part import Name, Part, Source, resolve_path
from mixdistill.records import AnswerType, Leniency
from mixdistill.teachers import (
    ENGINES,
    DatasetTeacher,
    OpenAIServer,
    Teacher,
    UntilCorrect,
    Voice,
    engine_of,
    without_folders,
)
from mixdistill.yaml_file import PlacedError, near

# Keys of a teacher that say nothing about its traces, and may name what is nobody's business.
_OF_THIS_MACHINE = (
    "base_url", "api_key_env", "headers", "concurrency", "connect_seconds", "read_seconds", "timeout_seconds",
    "price", "limit_field",
    "threads", "copies", "slots", "device", "batch_tokens", "tensor_parallel", "pipeline_parallel",
    "gpu_memory_utilization",
)  # fmt: skip


class Columns(Part):
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


class Procedural(Part):
    """Problems from a generator of the reasoning-gym package."""

    reasoning_gym: str
    "Name of the generator, such as gsm_symbolic."
    size: Annotated[int, Field(ge=1)]
    "How many to make."
    options: dict[str, object] = Field(default_factory=dict)
    "Passed on to the generator."


class ProblemSource(Source):
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
        self.one_of("file", "hub", "generate")
        if self.answer_type == "reasoning_gym" and self.generate is None and not self.columns.grading:
            raise ValueError("answer_type reasoning_gym needs generate, or columns: {grading: ...}")
        return self


class Failures(Part):
    """When a run of many requests is given up: by the share that fails, not by single ones."""

    window: Annotated[int, Field(ge=1)] = 50
    "Requests that are looked at: the last so many that ended at one engine."
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    "Share of them that may fail; above it nothing more is asked."


class Budget(Part):
    """Limits on one call of `generate`; the same command later goes on with a new one."""

    usd: Annotated[float, Field(gt=0)] | None = None
    "US dollars, by the prices of the teachers."
    tokens: Annotated[int, Field(gt=0)] | None = None
    "Tokens of prompts, reasoning and responses together."
    hours: Annotated[float, Field(gt=0)] | None = None
    "Hours by the clock."


class Cluster(Part):
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
    extra_body: dict[str, object] = Field(default_factory=dict)
    "More fields of the request, such as chat_template_kwargs."


class Verify(Part):
    """How traces are judged."""

    leniency: Leniency = "default"
    "How much digits, units, order and form may differ from the reference: strict, default or lenient."
    timeout_seconds: Annotated[float, Field(gt=0)] = 5.0
    "Limit on judging one answer; past it the status is timeout."
    processes: Annotated[int, Field(ge=0)] = 0
    "Worker processes; 0 is one for each core."
    judge: Judge | None = None
    "A model that is asked about answers that could not be decided; none is asked by default."


class Stats(Part):
    """How lengths are counted."""

    tokenizer: str | None = None
    "tokenizer.json, or model on the Hub, whose tokens lengths are counted in; default: the teacher's count."
    revision: str = "main"
    "Revision of the model on the Hub."

    @field_validator("tokenizer")
    @classmethod
    def _resolve_tokenizer(cls, name: str | None, info: ValidationInfo) -> str | None:
        return str(resolve_path(Path(name), info)) if name and name.endswith(".json") else name


class Publish(Part):
    """Where the dataset goes."""

    repo: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
    "owner/name on the Hub."
    private: bool = True
    "Private repositories are seen by their owner only."
    license: str = "auto"
    "Licence of the dataset, as a Hub id; auto: that of the sources where they agree."


class Recipe(Part):
    """Everything that a run is made from."""

    name: Name
    "Name of the run, and of its folder under runs/."
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] = "en"
    "Language of problems and traces, as an ISO 639 code."
    seed: int = 42
    "Every draw follows from it."
    limit: Annotated[int, Field(ge=1)] | None = None
    "Keep only the first so many problems."
    problems: Annotated[tuple[ProblemSource, ...], Field(min_length=1)]
    decontaminate: Decontaminate = Decontaminate()
    teachers: Annotated[dict[Name, Teacher], Field(min_length=1)]
    escalate: tuple[Name, ...] = ()
    "Teachers in order: each is asked only about the problems that those before it did not get right."
    failures: Failures = Failures()
    budget: Budget = Budget()
    cluster: Cluster | None = None
    verify: Verify = Verify()
    stats: Stats = Stats()
    mixing: Mixing = Mixing()
    mixes: Annotated[dict[Name, dict[str, Share]], Field(min_length=1)]
    """For each mix the share of each teacher, style (long, short) or size (large, small); or these shares for each
    band of difficulty, such as {easy: {short: 1}, hard: {long: 1}}."""
    publish: Publish | None = None

    @field_validator("teachers", mode="before")
    @classmethod
    def _engines_are_known(cls, teachers: object) -> object:
        for name, teacher in teachers.items() if isinstance(teachers, Mapping) else ():
            engine = engine_of(teacher)
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
    def _ratios_sum_to_one(cls, mixes: dict[str, dict[str, Share]]) -> dict[str, dict[str, Share]]:
        for name, content in mixes.items():
            for band, shares in _by_band(content, name).items():
                if abs(sum(shares.values()) - 1) > 1e-9:
                    which = f"{name}, band {band}," if band else name
                    raise PlacedError((name,), f"shares of mix {which} sum to {sum(shares.values()):g}, not to 1")
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
        for name, content in self.mixes.items():
            by_band = _by_band(content, name)
            for band in by_band:
                if band:
                    _known_name(band, self.mixing.difficulty.bands, ("mixes", name), "band of difficulty")
            for part in dict.fromkeys(part for shares in by_band.values() for part in shares):
                if not open_ended and not self.teachers_of(part):
                    known = [*self.teachers, *_groups(self.teachers.values())]
                    _known_name(part, known, ("mixes", name), "teacher, style or size")
        for name in () if open_ended else self.mixing.difficulty.by:
            _known_name(name, self.teachers, ("mixing", "difficulty", "by"), "teacher")
        return self

    def shares(self, mix: str) -> dict[str, dict[str, float]]:
        """The shares of the parts of a mix, by band of difficulty; one band without a name if it has none."""
        by_band = _by_band(self.mixes[mix], mix)
        return {
            band: {part: share for part, share in shares.items() if share > 0} for band, shares in by_band.items()
        }

    def parts(self, mix: str) -> list[str]:
        """The parts that a mix takes traces from, in the order of the recipe."""
        return list(dict.fromkeys(part for shares in self.shares(mix).values() for part in shares))

    def asks_by_verdicts(self, name: str) -> bool:
        """Whether what a teacher, or one behind it, is asked next depends on how its traces are judged."""
        return isinstance(getattr(self.teachers[name], "samples", 1), UntilCorrect) or name in self.escalate[:-1]

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
        mixing = cast("dict[str, dict[str, object]]", content.get("mixing", {}))
        parts = [
            *cast("list[dict[str, object]]", content["problems"]),
            *cast("dict[str, list[dict[str, object]]]", content.get("decontaminate", {})).get("against", []),
            *cast("dict[str, dict[str, object]]", content["teachers"]).values(),
            cast("dict[str, object]", content.get("stats", {})),
            cast("dict[str, object]", mixing),
            mixing.get("scoring", {}),
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


def _without_texts(value: object) -> object:
    """The value with a mark in the place of every text: a text may be a key or an address."""
    if isinstance(value, Mapping):
        return {key: _without_texts(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_texts(part) for part in value]
    return "(left out)" if isinstance(value, str) else value


def _by_band(content: Mapping[str, Share], mix: str) -> dict[str, dict[str, float]]:
    """The shares by band, whether the mix has bands or not. Raises PlacedError if it has both."""
    bands = {name: shares for name, shares in content.items() if isinstance(shares, dict)}
    plain = {name: share for name, share in content.items() if not isinstance(share, dict)}
    if bands and plain:
        one, other = next(iter(plain)), next(iter(bands))
        raise PlacedError((mix,), f"{one!r} has a share, and {other!r} has shares of its own; write one or other")
    return bands or {"": plain}


def _groups(teachers: Sequence[Voice] | object) -> list[str]:
    found = {group for teacher in cast("Sequence[Voice]", teachers) for group in (teacher.style, teacher.size)}
    return sorted(group for group in found if group)


def _known_name(name: str, known: Iterable[str], place: tuple[str, ...], kind: str) -> None:
    names = list(dict.fromkeys(known))
    if name not in names:
        raise PlacedError(place, f"no {kind} {name!r}{near(name, names)}")
