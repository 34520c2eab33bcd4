"""What is asked of a teacher, and the trace that its answer makes."""

from collections.abc import Iterable

import pytest

from mixdistill.builders.completions import (
    Completion,
    Request,
    Sampled,
    render_prompt,
)
from mixdistill.prompt import Example, Prompt
from mixdistill.records import Problem
from mixdistill.teachers import OpenAITeacher

TWO_PROBLEMS = [
    Problem(problem_id=f"p-{i}", problem=f"What is {i} + 2?", reference=str(i + 2), source="tests") for i in (1, 2)
]
SAMPLED = OpenAITeacher(
    engine="openai", style="long", size="large", model="big", revision="abc", samples=3, temperature=0.7,
    top_p=0.9, max_tokens=100, stop=("END",), timeout_seconds=7, extra_body={"min_p": 0.1},
)  # fmt: skip


def requests(teacher: OpenAITeacher, *, run_seed: int = 42, name: str = "long") -> list[Request]:
    calls = Sampled(name, teacher, run_seed)
    return [
        calls.request(problem, sample, key)
        for problem in TWO_PROBLEMS
        for sample, key in enumerate(calls.keys(problem))
    ]


def keys(of: Iterable[Request]) -> list[str]:
    return [request.request_key for request in of]


def changed(**fields: object) -> OpenAITeacher:
    return SAMPLED.model_copy(update=fields)


def test_a_prompt_is_system_then_worked_examples_then_the_problem() -> None:
    prompt = Prompt(
        system="Be brief.",
        examples=(Example(problem="1 + 1", response="2"), Example(problem="2 + 2", response="4")),
        problem="Q: {{problem}}",
    )

    assert [(turn["role"], turn["content"]) for turn in render_prompt(prompt, "3 + 3")] == [
        ("system", "Be brief."),
        ("user", "Q: 1 + 1"), ("assistant", "2"),
        ("user", "Q: 2 + 2"), ("assistant", "4"),
        ("user", "Q: 3 + 3"),
    ]  # fmt: skip


def test_a_problem_that_holds_a_slot_is_sent_as_it_is() -> None:
    (turn,) = render_prompt(Prompt(problem="Q: {{problem}}"), r"What is {{problem}} \1?")

    assert turn["content"] == r"Q: What is {{problem}} \1?"


def test_each_sample_of_each_problem_is_one_request() -> None:
    asked = requests(SAMPLED)

    assert [(request.problem_id, request.sample) for request in asked] == [
        ("p-1", 0), ("p-1", 1), ("p-1", 2), ("p-2", 0), ("p-2", 1), ("p-2", 2)
    ]  # fmt: skip
    assert len(set(keys(asked))) == 6
    first = asked[0]
    assert first.body == {"temperature": 0.7, "top_p": 0.9, "min_p": 0.1, "stop": ["END"]}
    assert (first.teacher, first.model, first.revision, first.style, first.size) == (
        "long", "big", "abc", "long", "large"
    )  # fmt: skip
    assert (first.max_tokens, first.timeout_seconds, first.stored) == (100, 7, None)
    assert first.messages[-1]["content"].endswith("Problem: What is 1 + 2?\nAnswer:")


def test_without_stop_texts_none_is_sent() -> None:
    assert "stop" not in requests(changed(stop=()))[0].body


def test_what_is_null_is_not_sent_and_is_another_setting() -> None:
    own = requests(changed(temperature=None, top_p=None))

    assert own[0].body == {"min_p": 0.1, "stop": ["END"]}
    assert not set(keys(own)) & set(keys(requests(SAMPLED)))


LOCAL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("fields", "expected", "why"),
    [
        ({}, "max_completion_tokens", "OpenAI refuses max_tokens for its newer models"),
        ({"base_url": ("https://API.openai.com:443/v1",)}, "max_completion_tokens", "written otherwise"),
        ({"base_url": (LOCAL,)}, "max_tokens", "servers of one's own may know no other"),
        ({"base_url": ("https://api.openai.com.example/v1",)}, "max_tokens", "another host"),
        ({"base_url": ("https://api.openai.com/v1", LOCAL)}, "max_tokens", "one of them is no OpenAI"),
        ({"limit_field": "max_tokens"}, "max_tokens", "named"),
        ({"base_url": (LOCAL,), "limit_field": "max_completion_tokens"}, "max_completion_tokens", "named"),
    ],
)
def test_the_limit_is_sent_in_the_field_that_the_server_takes(
    fields: dict[str, object], expected: str, why: str
) -> None:
    asked = requests(changed(**fields))

    payload = asked[0].payload()
    limits = {name: payload[name] for name in ("max_tokens", "max_completion_tokens") if name in payload}
    assert limits == {expected: 100}, why
    assert keys(asked) == keys(requests(SAMPLED))
    assert asked[0].trace(Completion()).max_tokens == 100


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"max_tokens": 200}, "raising the limit asks again only for traces that it cut"),
        ({"style": "short"}, "a label, not a setting"),
        ({"size": "small"}, "a label, not a setting"),
        ({"base_url": "http://127.0.0.1:1/v1"}, "the same model is served elsewhere"),
        ({"api_key_env": "OTHER"}, "whose key it is"),
        ({"concurrency": 1}, "how it is asked"),
        ({"timeout_seconds": 1}, "how long to wait"),
    ],
)
def test_a_request_keeps_its_key(fields: dict[str, object], why: str) -> None:
    assert keys(requests(changed(**fields))) == keys(requests(SAMPLED)), why


def test_a_request_keeps_its_key_under_another_name_of_the_teacher() -> None:
    assert keys(requests(SAMPLED, name="other")) == keys(requests(SAMPLED))


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "other"}, {"revision": None}, {"temperature": 0.8}, {"top_p": 0.8}, {"stop": ()},
        {"extra_body": {"min_p": 0.2}}, {"prompt": Prompt(problem="{{problem}}!")},
        {"prompt": Prompt(system="Be brief.")},
    ],
)  # fmt: skip
def test_what_changes_the_text_changes_the_key(fields: dict[str, object]) -> None:
    assert not set(keys(requests(changed(**fields)))) & set(keys(requests(SAMPLED)))


def test_another_run_seed_means_other_requests_with_other_seeds() -> None:
    mine, other = requests(SAMPLED), requests(SAMPLED, run_seed=43)

    assert not set(keys(mine)) & set(keys(other))
    assert not {request.seed for request in mine} & {request.seed for request in other}


def test_more_samples_keep_those_that_are_there() -> None:
    fewer, more = requests(changed(samples=2)), requests(SAMPLED)

    assert set(keys(fewer)) < set(keys(more))
    assert {r.request_key: r.seed for r in fewer}.items() < {r.request_key: r.seed for r in more}.items()


def test_the_seed_follows_from_run_seed_problem_style_and_sample() -> None:
    seed = requests(SAMPLED)[0].seed

    assert requests(changed(model="other", temperature=0.1, revision=None), name="x")[0].seed == seed
    assert requests(changed(style="short"))[0].seed != seed


def test_seeds_differ_by_problem_and_sample_and_are_the_same_again() -> None:
    seeds = [request.seed for request in requests(SAMPLED)]

    assert len(set(seeds)) == 6
    assert seeds == [request.seed for request in requests(SAMPLED)]
    assert all(seed is not None and 0 <= seed < 2**31 for seed in seeds)


def test_keys_and_seeds_are_those_of_earlier_versions() -> None:
    """Another key would pay for every trace a second time; change these only with a note for users."""
    teacher = OpenAITeacher(engine="openai", style="short", model="m", prompt=Prompt())

    (request, _) = requests(teacher)

    assert (request.request_key, request.seed) == ("r-94043b7810ca13f617fafca2", 48827500)


def test_a_trace_holds_the_request_and_what_came_back() -> None:
    request = requests(SAMPLED)[1]
    trace = request.trace(
        Completion(
            response="3", reasoning="1 + 2", finish_reason="stop", prompt_tokens=5, completion_tokens=6,
            reasoning_tokens=4, latency_seconds=0.5,
        )
    )  # fmt: skip

    assert trace.trace_id.startswith("t-")
    assert (trace.problem_id, trace.teacher, trace.model, trace.revision, trace.style, trace.size) == (
        "p-1", "long", "big", "abc", "long", "large"
    )  # fmt: skip
    assert (trace.sample, trace.prompt, trace.max_tokens, trace.seed, trace.request_key) == (
        1, request.messages, 100, request.seed, request.request_key
    )  # fmt: skip
    assert (trace.response, trace.reasoning, trace.finish_reason, trace.error) == ("3", "1 + 2", "stop", None)
    assert (trace.prompt_tokens, trace.completion_tokens, trace.reasoning_tokens) == (5, 6, 4)
    assert (trace.latency_seconds, trace.cost_usd) == (0.5, None)


@pytest.mark.parametrize(
    ("model", "recorded"),
    [
        ("Qwen/QwQ-32B-Preview", "Qwen/QwQ-32B-Preview"),
        ("gpt-4.1", "gpt-4.1"),
        ("/data/models/QwQ-32B", "QwQ-32B"),
        ("/data/models/QwQ-32B/", "QwQ-32B"),
        ("/data/m/tiny.Q4_K_M.gguf", "tiny.Q4_K_M.gguf"),
        (r"C:\Users\me\tiny.gguf", "tiny.gguf"),
        ("/", "/"),
    ],
)
def test_a_trace_holds_no_path_of_a_machine(model: str, recorded: str) -> None:
    request = requests(changed(model=model))[0]

    assert (request.model, request.trace(Completion(response="3")).model) == (model, recorded)


def test_the_id_of_a_trace_follows_from_the_request_and_the_texts_not_from_how_long_it_took() -> None:
    request, other = requests(SAMPLED)[:2]
    trace = request.trace(Completion(response="3", latency_seconds=0.5))

    assert request.trace(Completion(response="3", latency_seconds=9.5)).trace_id == trace.trace_id
    assert request.trace(Completion(response="4")).trace_id != trace.trace_id
    assert request.trace(Completion(response="3", finish_reason="length")).trace_id != trace.trace_id
    assert other.trace(Completion(response="3")).trace_id != trace.trace_id
