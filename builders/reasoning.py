"""Reasoning: taken apart from the response however a model or a server marks it, and joined again.

In: a text (`split_text`), a message of an OpenAI-compatible server (`read_message`), or the two parts
(`join_reasoning`). Out: the reasoning and the response, of which only blank edges and the outermost marks are
lost; or the student's message. The rules:

- A text that begins with an opener is thinking up to the last closer of that kind, or to its end.
- Any other text is thinking up to its last closer, if there is one: the prompt held the opener.
- A mark does not count in quotes, in code, or as a pair on one line within a sentence; nor does a closer
  amid a sentence where no opener begins the text.

The shapes are those that vLLM's, SGLang's and llama.cpp's parsers and OpenRouter's, Mistral's, DeepSeek's and
OpenAI's documentation know. Tool calls are not read. Which form a student wants is found by `chat_template`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from mixdistill.records import Message

if TYPE_CHECKING:
    import polars


class SplitText(NamedTuple):
    """A text taken apart at the end of its thinking."""

    reasoning: str | None
    "None if the text has none; empty if it was marked and holds nothing."
    response: str


class Marks(NamedTuple):
    """What stands around the thinking."""

    opener: str
    closer: str


class ReasoningForm(NamedTuple):
    """Where the reasoning stands in the message of a student."""

    field: str | None = None
    "The message's own field for it; None: in the content, between marks."
    opener: str = "<think>\n"
    "Empty where the chat template writes it."
    closer: str = "\n</think>\n\n"

    def __str__(self) -> str:
        return self.field or f"{self.opener.strip()}...{self.closer.strip()}"


INLINE = ReasoningForm()

MARKS = (
    Marks("<think>", "</think>"),  # DeepSeek-R1, Qwen, GLM, SmolLM3 and most others
    Marks("<thinking>", "</thinking>"),
    Marks("<thought>", "</thought>"),
    Marks("<reasoning>", "</reasoning>"),
    Marks("<seed:think>", "</seed:think>"),  # Seed-OSS
    Marks("<longcat_think>", "</longcat_think>"),
    Marks("[THINK]", "[/THINK]"),  # Magistral
    Marks("◁think▷", "◁/think▷"),  # Kimi-VL
    Marks("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThoughts, Sky-T1
    Marks("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    Marks("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Marks("<|channel>thought", "<channel|>"),  # Gemma 4
)
# Around the response, behind the thinking.
_RESPONSE_MARKS = (
    Marks("<|begin_of_solution|>", "<|end_of_solution|>"),
    Marks("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    Marks("[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"),
)
# Sentences for marks: Granite (quantised ones say "Here's") and Apriel. Only both together are marks.
_SENTENCES = re.compile(
    r"\s*(?:Here(?:'s| is) my thought process:(.*?)Here(?:'s| is) my response:"
    r"|Here are my reasoning steps:(.*?)(?=\[BEGIN FINAL RESPONSE\]))(.*)",
    re.DOTALL,
)
_ANY_CLOSER = re.compile("|".join(re.escape(marks.closer) for marks in MARKS), re.IGNORECASE)
_ANY_OPENER = re.compile("|".join(re.escape(marks.opener) for marks in MARKS), re.IGNORECASE)

_HARMONY_HEADER = re.compile(
    r"<\|channel\|>\s*(?:analysis|commentary|final)\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
)
_HARMONY_TOKEN = re.compile(r"<\|(start|channel|constrain|message|end|return|call)\|>")
# What is left of Harmony where the server drops special tokens.
_BARE_CHANNEL = re.compile(r"assistant(analysis|commentary|final)")
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z])")

# A fence closes on a line of its own; one that meets the start of another was never closed.
_FENCE = re.compile(r"^```[^\n`]*\n(?:(?!```)[^\n]*\n)*?```[ \t]*$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]{1,200}`")
_QUOTES = "\"'“”‘’«»`"
_SENTENCE_BEFORE = " \t([*" + _QUOTES

_FIELDS = ("reasoning", "reasoning_content", "thinking")


def split_text(text: str) -> SplitText:
    """The thinking and the response in a text; a text without thinking is left as it is.

    >>> split_text("<think>1 + 1 is 2</think>It is 2.")
    SplitText(reasoning='1 + 1 is 2', response='It is 2.')
    >>> split_text("It is 2.")
    SplitText(reasoning=None, response='It is 2.')
    """
    opened = _ANY_OPENER.match(text.lstrip())
    if opened is not None:
        return _split_opened(text.lstrip(), opened[0])
    found = _split_harmony(text) or _split_sentences(text)
    if found is not None:
        return found
    if _ANY_CLOSER.search(text) is None:
        return SplitText(None, text)
    closers = [*_ANY_CLOSER.finditer(_without_asides(_without_quotes(text)))]
    if not closers:
        return SplitText(None, text)
    return SplitText(text[: closers[-1].start()].strip(), _unwrapped(text[closers[-1].end() :]))


def read_message(message: Mapping[str, object]) -> SplitText:
    """The reasoning and the response in a message of an OpenAI-compatible server.

    Looks at `reasoning`, `reasoning_content`, `thinking`, `reasoning_details`, `thinking_blocks`, then at the
    parts of the content, then inside its text. Where a server took only a part of the thinking out of the
    content, the rest is added; where it repeats the thinking there, the content loses it. The text of a refusal
    is a response.
    """
    told, text = _read_content(message.get("content"))
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str):
        text = refusal
    apart = _read_fields(message) or told
    if not apart:
        return split_text(text)
    inside = split_text(apart)
    if inside.reasoning is not None and (inside.response == "" or not text.strip()):
        # The server left the marks in, or took the whole text for thinking.
        apart, text = inside.reasoning, text if text.strip() else inside.response
    rest = split_text(text)
    return SplitText(_together(apart, rest.reasoning or ""), rest.response.strip())


def join_reasoning(reasoning: str | None, response: str, form: ReasoningForm = INLINE) -> Message:
    r"""The assistant's message that a student is trained on.

    >>> join_reasoning("1 + 1 is 2", "It is 2.")
    {'role': 'assistant', 'content': '<think>\n1 + 1 is 2\n</think>\n\nIt is 2.'}
    >>> join_reasoning("1 + 1 is 2", "It is 2.", ReasoningForm(field="reasoning_content"))
    {'role': 'assistant', 'reasoning_content': '1 + 1 is 2', 'content': 'It is 2.'}
    """
    if form.field is not None:
        return cast("Message", {"role": "assistant", form.field: reasoning or None, "content": response})
    if not reasoning and form.opener:
        return {"role": "assistant", "content": response}
    # What the template opens has to be closed, also where there was no thinking.
    return {"role": "assistant", "content": f"{form.opener}{reasoning or ''}{form.closer}{response}"}


def join_columns(
    reasoning: "polars.Series", response: "polars.Series", form: ReasoningForm = INLINE
) -> "list[polars.Series]":
    """The same for many rows at once: the texts of the message's fields besides its role, `content` last."""
    empty = reasoning.is_null() | (reasoning == "")
    if form.field is not None:
        return [reasoning.set(empty, None).alias(form.field), response.alias("content")]
    joined = form.opener + reasoning.fill_null("") + form.closer + response
    return [(response.zip_with(empty, joined) if form.opener else joined).alias("content")]


def _split_opened(text: str, opener: str) -> SplitText:
    """A text that begins with an opener."""
    closer = next(marks.closer for marks in MARKS if marks.opener.lower() == opener.lower())
    pattern = re.compile(re.escape(closer), re.IGNORECASE)
    # What looks like code may begin in the thinking and end in the response.
    for seen in (_without_quotes(text), _without_direct_quotes(text)):
        closers = [*pattern.finditer(seen, len(opener))]
        if closers:
            end, begin = closers[-1].span()
            return SplitText(text[len(opener) : end].strip(), _unwrapped(text[begin:]))
    # The mark of the response ends a thought that was not closed.
    begin = max(text.rfind(marks.opener) for marks in _RESPONSE_MARKS)
    if begin < 0 and "</answer>" in text[max(0, text.rfind("<answer>")) :]:  # the format of R1-Zero
        begin = text.rfind("<answer>")
    end = begin if begin >= 0 else len(text)
    return SplitText(text[len(opener) : end].strip(), _unwrapped(text[end:]))


def _split_sentences(text: str) -> SplitText | None:
    found = _SENTENCES.fullmatch(text)
    return SplitText((found[1] or found[2] or "").strip(), _unwrapped(found[3])) if found else None


def _split_harmony(text: str) -> SplitText | None:
    """A text in the channels of gpt-oss: `final` is the response, all else is thinking."""
    if "<|message|>" in text and _HARMONY_HEADER.search(_without_quotes(text)):
        return _from_channels(_channels(text))
    if "assistantfinal" in text and "assistantfinal" in _without_quotes(text):
        pieces = _BARE_CHANNEL.split(text.strip().removeprefix("analysis"))
        return _from_channels([("analysis", pieces[0]), *zip(pieces[1::2], pieces[2::2], strict=True)])
    cut = _BARE_ANALYSIS.match(text)
    return SplitText(text[cut.end() :].strip(), "") if cut else None


def _channels(text: str) -> list[tuple[str, str]]:
    """The channel and the text of each message; what stands outside of the messages is thinking before and
    response behind them: the prompt held the first header, or the server took the last one away."""
    first, *pieces = _HARMONY_TOKEN.split(text)
    header = first.strip() in ("", "assistant", "analysis", "commentary", "final")
    channel, messages = first.strip(), [("analysis", "" if header else first)]
    for token, piece in zip(pieces[::2], pieces[1::2], strict=True):
        if token == "message":
            messages.append((channel, piece))
        elif token == "channel":
            channel = (piece.split() or ["final"])[0]
        elif token == "start":
            channel = "final"
        elif token in ("end", "return", "call") and piece.strip() != "assistant":
            messages.append(("final", piece))
    return messages


def _from_channels(messages: Iterable[tuple[str, str]]) -> SplitText:
    spoken = [(channel, text.strip()) for channel, text in messages if text.strip()]
    thinking = [text for channel, text in spoken if channel != "final"]
    response = "\n\n".join(text for channel, text in spoken if channel == "final")
    return SplitText("\n\n".join(thinking) if thinking else None, response)


def _unwrapped(response: str) -> str:
    """The response without the marks that some models put around it."""
    response = response.strip()
    for opener, closer in _RESPONSE_MARKS:
        if response.startswith(opener):
            return response.removeprefix(opener).removesuffix(closer).strip()
    return response


def _without_quotes(text: str) -> str:
    """The text, as long as before, with blanks for code, quoted marks, and pairs of marks within a sentence."""
    text = _FENCE.sub(lambda found: _blank(found) if _shows_marks(found[0]) else found[0], text)
    return _without_direct_quotes(_CODE.sub(_blank, _without_pairs(text)))


def _without_direct_quotes(text: str) -> str:
    """The text, as long as before, with blanks for marks between quotes."""

    def blank_if_quoted(found: re.Match[str]) -> str:
        around = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        return _blank(found) if all(side and side in _QUOTES for side in around) else found[0]

    return _ANY_CLOSER.sub(blank_if_quoted, text)


def _without_pairs(text: str) -> str:
    """The text, as long as before, with blanks for pairs of marks on one line within a sentence."""

    def blank_if_told(found: re.Match[str]) -> str:
        before = text[max(0, found.start() - 200) : found.start()].rpartition("\n")[2]
        told = before.strip() and before[-1] in _SENTENCE_BEFORE and not _ends_with_closer(before)
        return _blank(found) if told else found[0]

    for marks in MARKS:
        if marks.opener in text:
            pair = re.escape(marks.opener) + r"[^\n]{0,200}?" + re.escape(marks.closer)
            text = re.sub(pair, blank_if_told, text)
    return text


def _without_asides(text: str) -> str:
    """The text, as long as before, with blanks for closers between a word and a word with a small letter."""

    def blank_if_amid(found: re.Match[str]) -> str:
        before, behind = text[max(0, found.start() - 2) : found.start()], text[found.end() : found.end() + 2]
        amid = before[:1].isalpha() and before[1:] == " " and behind[:1] == " " and behind[1:].islower()
        return _blank(found) if amid else found[0]

    return _ANY_CLOSER.sub(blank_if_amid, text)


def _shows_marks(fence: str) -> bool:
    """Whether code shows marks; a closer alone on its line, with no opener in the code, may be a real one."""
    alone = any(_ANY_CLOSER.fullmatch(line.strip()) for line in fence.split("\n"))
    return not alone or _ANY_OPENER.search(fence) is not None


def _ends_with_closer(text: str) -> bool:
    return any(text.rstrip().lower().endswith(marks.closer.lower()) for marks in MARKS)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _read_fields(message: Mapping[str, object]) -> str:
    """The reasoning that stands beside the content."""
    for name in _FIELDS:
        value = message.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    details = _parts(message.get("reasoning_details"))
    # The parts of a text are pieces of a stream, summaries are paragraphs.
    text = "".join(_text(part.get("text")) for part in details)
    summaries = "\n\n".join(filter(None, (_text(part.get("summary")).strip() for part in details)))
    blocks = _read_content(message.get("thinking_blocks"))[0]
    return text.strip() or summaries or blocks


def _read_content(content: object) -> tuple[str, str]:
    """The reasoning and the text of a content that is a text or a list of parts."""
    if isinstance(content, str):
        return "", content
    thinking, text = [], []
    for part in _parts(content):
        kind = part.get("type")
        if kind in ("thinking", "reasoning"):
            inner = next((part[key] for key in (kind, "text", "content", "summary") if part.get(key)), "")
            thinking.append(inner if isinstance(inner, str) else _read_content(inner)[1])
        elif kind == "refusal":
            text.append(_text(part.get("refusal")))
        else:
            text.append(_text(part.get("text")))
    return "\n\n".join(filter(None, (piece.strip() for piece in thinking))), "".join(text)


def _parts(value: object) -> list[Mapping[str, object]]:
    """The parts of a list; a text among them is a part with that text."""
    parts = value if isinstance(value, list) else []
    as_parts = [{"text": part} if isinstance(part, str) else part for part in parts]
    return [part for part in as_parts if isinstance(part, Mapping)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _together(apart: str, inside: str) -> str:
    """The thinking of a field and of the content, of which one may repeat the other."""
    if " ".join(inside.split()) in " ".join(apart.split()):
        return apart
    return inside if inside.startswith(apart) else f"{apart}\n\n{inside}"
