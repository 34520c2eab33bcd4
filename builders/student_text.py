"""What a student is trained on: its chat template around question and trace, as tokens.

In: the student and its exchanges. Out: for each the tokens up to the last of the trace, the first token of the
trace, and the tokens at which its sentences end. As TRL cuts a row: the trace begins where the tokens of prompt
and row part. What the template writes behind the trace, the end of the turn, is left out: it says nothing of the
text, and would weigh most in the shortest trace.
"""

import bisect
from collections.abc import Sequence
from typing import NamedTuple

from mixdistill.builders.rendering import common_length
from mixdistill.builders.student import Student, Turn, as_text
from mixdistill.builders.surprise import sentence_ends


class Exchange(NamedTuple):
    """A question and its trace."""

    question: str
    assistant: Turn
    "The student's message, from `reasoning.join_reasoning`."
    response: str
    "The end of the trace, as the message holds it."


class StudentText(NamedTuple):
    """An exchange as the student reads it."""

    ids: list[int]
    "Tokens up to the last of the trace."
    first: int
    "The first token of the trace."
    steps: list[int]
    "For each sentence the token behind its last one, counted from the first of the trace."


def as_trained(student: Student, exchanges: Sequence[Exchange]) -> list[StudentText | None]:
    """The exchanges as the student reads them; None where its template does not show the end of the trace."""
    questions = [[{"role": "user", "content": each.question}] for each in exchanges]
    told = [[*question, each.assistant] for question, each in zip(questions, exchanges, strict=True)]
    prompts = as_text(student, questions, add_generation_prompt=True)
    wholes = as_text(student, told, add_generation_prompt=False)
    shown = {
        number: (prompt, whole)
        for number, (prompt, whole, each) in enumerate(zip(prompts, wholes, exchanges, strict=True))
        if prompt is not None and whole is not None and each.response.strip() in whole
    }
    texts: list[StudentText | None] = [None] * len(exchanges)
    if shown:
        settings = {"add_special_tokens": False, "verbose": False}
        asked = student.tokenizer([prompt for prompt, _ in shown.values()], **settings)["input_ids"]
        read = student.tokenizer([whole for _, whole in shown.values()], return_offsets_mapping=True, **settings)
        for place, (number, (_, whole)) in enumerate(shown.items()):
            starts = [start for start, _ in read["offset_mapping"][place]]
            response = exchanges[number].response.strip()
            texts[number] = _place(whole, response, asked[place], read["input_ids"][place], starts)
    return texts


def _place(whole: str, response: str, prompt: list[int], ids: list[int], starts: list[int]) -> StudentText:
    """Where the trace stands; `starts` is the character that each token begins at."""
    end_char = whole.rindex(response) + len(response)
    end = bisect.bisect_left(starts, end_char)
    common = common_length(prompt, ids)
    first = min(max(common, 1), end)  # nothing foretells the very first token
    if first == end:
        return StudentText(ids[:end], first, [])
    own = [start - starts[first] for start in starts[first:end]]
    steps = [bisect.bisect_left(own, sentence) for sentence in sentence_ends(whole[starts[first] : end_char])]
    return StudentText(ids[:end], first, sorted({*steps} - {0}))  # a sentence within one token is no step
