"""Rows of a mix as a trainer makes them: text, token ids, and which of them the student is trained on.

In: a student (its own tokenizer and chat template) and rows with a prompt and a completion. Out: for each row the
whole text, its tokens, the spans of them that get loss, and the token that ends the turn; then what is left at a
maximum length. Trains nothing and runs no code of the student but its template, in transformers' sandbox.

How a trainer does it, with its defaults for a row of this shape:

- trl: SFTTrainer (TRL 1.16, trl/trainer/sft_trainer.py, `tokenize_fn`, `build_labels`, `truncate`): renders the
  prompt with the generation prompt, and prompt and completion together, tokenises both, and trains on the second
  from where they part. Then it keeps the first max_length tokens, and drops rows without any loss.
- llamafactory: LLaMA-Factory (src/llamafactory/data/template.py, `encode_multiturn`, `parse_template`;
  processor/supervised.py): tokenises prompt and response apart, trains on the response. Too long rows lose the end
  of the longer side, or of both (`infer_seqlen`). Its own templates go by name; this is the one that it reads from
  the tokenizer where `template` is left out, with its `cutoff_len`.
- axolotl: type chat_template (src/axolotl/prompt_strategies/chat_template.py, `_tokenize_single_prompt`,
  `find_turn`): renders the conversation once more with another last message, trains on the tokens in which the two
  differ, and on the tokenizer's EOS if it stands within three tokens behind them. Rows longer than `sequence_len`
  are dropped (`excess_length_strategy`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mixdistill.builders.student import Student, Turn, as_text, bare, refusals
from mixdistill.records import Trainer

# Behind the message a template may write a line break or two, and the EOS among them.
_TAIL = 5
# axolotl looks so far behind the message for the EOS.
_AXOLOTL_TAIL = 3
_OTHER_MESSAGE = "[[dummy_message]]"


class Span(NamedTuple):
    """Tokens from `start` up to below `end`."""

    start: int
    end: int


class Rendered(NamedTuple):
    """A row as the trainer makes it, before it is cut to a length."""

    text: str
    "The conversation."
    completion_start: int
    "Where in the text prompt and completion part."
    prompt_rest: str
    "The end of the prompt, with the generation prompt, that the conversation does not have; empty if they join."
    ids: list[int]
    prompt_tokens: int
    "Tokens of the prompt that the ids begin with."
    loss: tuple[Span, ...]
    "Which of the ids the student is trained on."
    stop: int | None
    "Which of them is the token that ends the turn; None if that is not trained."
    joins: bool
    "Whether the tokens of the prompt alone are those that the ids begin with."

    @property
    def completion(self) -> str:
        return self.text[self.completion_start :]


class Cut(NamedTuple):
    """What a trainer leaves of a row at a maximum length."""

    tokens: int
    loss_tokens: int
    keeps_stop: bool
    "Whether what ends the turn is still there; of a row whose end is not trained, whether all is."
    place: int
    "The id at which the row was cut; the number of ids if it was not."


def render(
    student: Student, prompts: Sequence[Sequence[Turn]], completions: Sequence[Sequence[Turn]], trainer: Trainer
) -> list[Rendered | str]:
    """The rows as the trainer makes them; for a row that the template refuses, what it says."""
    wholes = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
    told = as_text(student, wholes, add_generation_prompt=False)
    asked = as_text(student, prompts, add_generation_prompt=True)
    done = [number for number, pair in enumerate(zip(told, asked, strict=True)) if None not in pair]
    rows: list[Rendered | str] = [""] * len(wholes)
    for number in set(range(len(wholes))) - set(done):
        rows[number] = _refusal(student, wholes[number])
    others = [[*prompts[number], {"role": "assistant", "content": _OTHER_MESSAGE}] for number in done]
    texts = [(str(told[number]), str(asked[number])) for number in done]
    for number, row in zip(done, _tokenised(student, texts, others, trainer), strict=True):
        rows[number] = row
    return rows


def cut(row: Rendered, trainer: Trainer, max_length: int | None) -> Cut:
    """What the trainer leaves of the row; nothing if it drops it."""
    length = len(row.ids)
    if max_length is None or length <= max_length:
        loss = sum(end - start for start, end in row.loss)
        return Cut(length, loss, True, length) if loss or trainer == "llamafactory" else Cut(0, 0, True, length)
    if trainer == "axolotl":
        return Cut(0, 0, False, max_length)
    if trainer == "llamafactory":
        source, target = _shortened(row.prompt_tokens, length - row.prompt_tokens, max_length)
        place = source if source < row.prompt_tokens else row.prompt_tokens + target
        whole = source == row.prompt_tokens and row.stop is not None and row.stop < row.prompt_tokens + target
        return Cut(source + target, target, whole, place)
    loss = sum(max(0, min(end, max_length) - start) for start, end in row.loss)
    keeps_stop = row.stop is not None and row.stop < max_length
    return Cut(max_length if loss else 0, loss, keeps_stop, max_length)


def _shortened(source: int, target: int, max_length: int) -> tuple[int, int]:
    """How many tokens of prompt and response LLaMA-Factory keeps of a row that is too long."""
    if target * 2 < max_length:
        most = max_length
    elif source * 2 < max_length:
        most = max_length - source
    else:
        most = int(max_length * (target / (source + target)))
    kept = min(most, target)
    return min(max(max_length - kept, 0), source), kept


def _tokenised(
    student: Student, texts: Sequence[tuple[str, str]], others: Sequence[Sequence[Turn]], trainer: Trainer
) -> Iterator[Rendered]:
    """Rows from the texts of the whole conversation and of the prompt."""
    places = [common_length(prompt, whole) for whole, prompt in texts]
    prompt_ids = _ids(student, [prompt for _, prompt in texts])
    if trainer == "llamafactory":
        answers = _ids(student, [whole[place:] for (whole, _), place in zip(texts, places, strict=True)])
        heads = _ids(student, [whole[:place] for (whole, _), place in zip(texts, places, strict=True)])
        whole_ids = [[*head, *answer] for head, answer in zip(heads, answers, strict=True)]
    else:
        heads = prompt_ids
        whole_ids = _ids(student, [whole for whole, _ in texts])
    if trainer == "axolotl":
        other_ids = _ids(student, [text or "" for text in as_text(student, others, add_generation_prompt=False)])
    for number, (whole, prompt) in enumerate(texts):
        ids, head = whole_ids[number], heads[number]
        common = common_length(head, ids)
        joins = common == len(head) and (trainer != "llamafactory" or places[number] == len(prompt))
        loss: tuple[Span, ...] = (Span(common, len(ids)),)
        if trainer == "axolotl":
            loss = _differing(ids, other_ids[number], student.tokenizer.eos_token_id)
        loss = tuple(span for span in loss if span.start < span.end)
        yield Rendered(
            text=whole,
            completion_start=places[number],
            prompt_rest=_rest(student, prompt_ids[number], common) if not joins else "",
            ids=ids,
            prompt_tokens=common,
            loss=loss,
            stop=_stop(ids, loss, student.stops),
            joins=joins,
        )


def _differing(ids: Sequence[int], other: Sequence[int], eos: int | None) -> tuple[Span, ...]:
    """What axolotl trains on: the tokens that another message changes, and the EOS right behind them."""
    start = common_length(other, ids)
    shorter = min(len(ids), len(other)) - start
    behind = 0
    while behind < shorter and ids[-1 - behind] == other[-1 - behind]:
        behind += 1
    end = len(ids) - behind
    if end <= start:
        return ()
    found = [place for place in range(end, min(end + _AXOLOTL_TAIL + 1, len(ids))) if ids[place] == eos]
    return (Span(start, end), *(Span(place, place + 1) for place in found[:1]))


def _stop(ids: Sequence[int], loss: Sequence[Span], stops: frozenset[int]) -> int | None:
    """The last token with loss that ends generation, if only the template's tail stands behind it."""
    for start, end in reversed(loss):
        for place in range(end - 1, max(start, end - _TAIL) - 1, -1):
            if ids[place] in stops:
                return place
    return None


def common_length(one: Sequence[object], other: Sequence[object]) -> int:
    """How many tokens or characters the two begin with in common."""
    if one == other[: len(one)]:
        return len(one)
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _rest(student: Student, prompt_ids: list[int], common: int) -> str:
    """The end of a prompt that the row does not begin with."""
    return str(student.tokenizer.decode(prompt_ids[common:]))


def _ids(student: Student, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, which holds its special ones already."""
    if not texts:
        return []
    backend = getattr(student.tokenizer, "backend_tokenizer", None)
    if backend is not None:  # the same without places of tokens in the text, which take a third of the time
        return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]
    found = student.tokenizer(list(texts), add_special_tokens=False, verbose=False)
    return [list(ids) for ids in found["input_ids"]]


def _refusal(student: Student, conversation: Sequence[Turn]) -> str:
    """What the template says of a conversation that it refuses."""
    for turns, asks in ((conversation, False), (conversation[:-1], True)):
        try:
            student.tokenizer.apply_chat_template(bare(turns), tokenize=False, add_generation_prompt=asks)
        except refusals() as error:
            return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return "nothing"
