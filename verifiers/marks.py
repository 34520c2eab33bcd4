r"""Marks by which writers state an answer in words: "Final answer:", "The answer is", "A:", in several languages.

Goes in: a text. Comes out: what stands behind the last mark of a kind, reduced to the value where it is a
sentence, or None. Boxes and guesses have modules of their own. All patterns are linear in the length of the text.
"""

import re
from collections.abc import Iterator

from mixdistill.boxes import ANSWER_CHARACTERS, is_placeholder
from mixdistill.verifiers.formulas import NUMBER, last_match, last_member, trim, with_percent

FINAL_ANSWER = re.compile(
    r"(?<!\w)final[ \t]{1,3}answer\b(?:[*_]{0,3}[ \t]{0,3}[:：=]|[ \t]{1,3}(?:is|are|equals)\b|[*_ \t]{0,5}\r?\n)"
    r"|最终答案[*_]{0,3}(?:是|为|[:：])",
    re.IGNORECASE,
)
# European words for "the answer is", and a line that begins with their word for "answer".
_IS = (
    r"\b(?:answer(?:[ \t](?:to|for)[ \t][^.?\n]{1,100}?)?"
    r"|(?:correct|right)[ \t](?:option|choice|statement))(?:[ \t](?:therefore|thus|then|here))?"
    r"[ \t]{1,3}(?:is|are|equals|must[ \t]be|should[ \t]be|will[ \t]be|would[ \t]be)\b"
    r"|\\text(?:bf)?\{[ ]?Answer[ ]?(?:[:=][ ]?\}|\}[ ]?[:=])"
)
# French, German, Spanish, Portuguese, Italian, Indonesian, Dutch, Swedish, Czech; with the verbs that follow.
_LATIN_WORDS = r"r[ée]ponse|antwort|respuesta|resposta|risposta|jawaban(?:nya)?|antwoord|svaret|odpověď"
_IS_LATIN = (
    rf"\b(?:{_LATIN_WORDS})(?:[ \t]\w{{1,10}}){{0,2}}"
    r"[ \t](?:est|ist|lautet|beträgt|es|é|è|e'|e|adalah|is|är|je)(?![\w'])"
    r"|\b(?:la solution|la solución|a solução|la soluzione|die lösung)[ \t](?:est|es|é|è|ist|lautet)(?![\w'])"
)
_WORDS_FOR_ANSWER = (
    "ponse", "ntwort", "spuesta", "sposta", "awaban", "ntwoord", "varet", "odpov", "a solu", "ösung"
)  # fmt: skip
_IS_OTHER = (
    # Chinese, Japanese, Korean
    r"答案(?:应该|應該|应)?[*_]{0,3}[ ]?(?:是|为|為|等于|[:：])|(?<!解)答[:：]|故[选選](?:择)?[:：]?"
    r"|答え[はが]|解答は|正解は|答え[:：]"
    r"|정답[*_]{0,3}[ ]?(?:은|는|[:：])|(?<!정)답[*_]{0,3}[ ]?(?:은|는|[:：])"
    # Russian and Ukrainian
    r"|ответ(?:ом)?[*_]{0,3}[ ]?(?:равен|будет|является|[:—–-])|відповідь[*_]{0,3}[ ]?[:—–-]"
    # Hindi and Bengali
    r"|उत्तर[*_]{0,3}(?:[ ]?(?:है|[:：])|[ ](?=[\d$\\(A-E]))|উত্তর[*_]{0,3}[ ]?(?:হল|[:：])"
    # Arabic, Persian, Hebrew
    r"|(?:الجواب|الإجابة|پاسخ|جواب)(?:[ ](?:النهائية|النهائي|الصحيحة|الصحيح|نهایی|صحیح))?"
    r"[*_]{0,3}[ ]?(?:هو|هي|است|[:：])"
    r"|התשובה(?:[ ](?:הסופית|הנכונה))?[*_]{0,3}[ ]?(?:היא|:)"
    # Vietnamese and Thai
    r"|đáp[ ](?:án|số)[*_]{0,3}[ ]?(?:là|:)|câu[ ]trả[ ]lời[ ]là|คำตอบ(?:ที่ถูกต้อง|สุดท้าย)?[ ]?(?:คือ|[:：])"
)
ANSWER_IS = re.compile(_IS, re.IGNORECASE)
_ANSWER_IS_LATIN = re.compile(_IS_LATIN, re.IGNORECASE)
_ANSWER_IS_OTHER = re.compile(_IS_OTHER, re.IGNORECASE)
_ANSWER_LINE = re.compile(
    r"^[ \t*>#_-]{0,6}(?:(?:(?-i:A)(?![*_ \t]{0,6}[=])|ans|answer|lösung|endergebnis"
    rf"|solución|(?:doğru[ \t])?cevap|odpowiedź|{_LATIN_WORDS}|答)"
    r"(?:[ \t](?:finale?|correcta|correcte|correta|corretta))?[*_]{0,3}[ \t]{0,3}[:：=]"
    r"|(?:\*\*|__|#{1,4}[ \t])answer(?:\*\*|__)?[ \t]{0,3}\r?\n)"
    # Inside of a line, where it is written as a heading is or with its article.
    r"|(?:(?<=[\s,;.*])(?-i:Answer|Réponse|Antwort|Respuesta|Resposta|Risposta)"
    r"|\b(?:the|my|correct|right)[ \t]answer)[*_]{0,3}[ \t]{0,3}[:：](?=[ \t]{0,3}\S)",
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER_FIELD = re.compile(
    r"""["'](?:final_?)?answer["']\s{0,3}:\s{0,3}(?:"((?:[^"\\\n]|\\.){1,500})"|'([^'\n]{1,500})'|(-?[\d.,/]{1,100}(?<!,)))""",
    re.IGNORECASE,
)
_HASHES = re.compile(r"^####[ \t]{0,3}(?!#)([^\n]{1,200})$", re.MULTILINE)
_HASHES_INSIDE = re.compile(r"[^#\n]####[ \t]{0,3}([^#\n]{1,200})$")
_EQUALS = re.compile(r"\b(?:therefore|thus|hence|so)\b[^.\n=]{1,100}?\b(?:equals|is equal to)\b", re.IGNORECASE)

_FORMULA = re.compile(r"\s{0,3}(?:\$\$?([^$]{1,2000})\$\$?|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\])", re.DOTALL)
_MORE = re.compile(r"\s{0,3}(?:,|and\b|or\b|to\b|[-+*/=^<>])")
# A word alone is an answer only this near to the end.
_END_CHARACTERS = 300
_FILLER = re.compile(
    r"(?:then|therefore|thus|hence|simply|just|exactly|equal to|for sure|definitely|clearly|certainly"
    r"|donc|ainsi|also|folglich|damit|portanto|quindi|dunque|option|choice"
    r"|la(?=[ \t][A-H]\b)|(?:(?:la|a|die)[ \t])?(?:opción|opção|opzione|letra|lettera|lettre))\b[ \t]{0,3}:?"
)
# A letter, and behind it why it is chosen or which others are not.
_CHOICE = re.compile(
    r"(?:the[ \t])?(?:(?:option|choice|statement)[ \t])?(\([A-Z]\)|[A-HJ])(?:"
    r",?[ \t](?:because|since|as|due|given|and[ \t]not|not|non|nicht|rather|instead)\b"
    r"|,[ \t](?:it|that|this|the|we|I)\b|[。，,]?\s?(?:不是|而不是|因为))"
)
_LEADING = " \t:：=*_\r\n\"'"
_BULLET = re.compile(r"[ \t:*_]{0,9}\n\s{0,9}[-*•][ \t]{1,9}")
_SENTENCE_END = re.compile(r"[.!?](?=[\s*]|$)|[。！？।]|\n|\\n(?![a-z])|</|<\|")
_BULLETS = re.compile(r"(?:[:\s]|\*\*){0,9}((?:[-*•][ \t][^\n]{1,200}(?:\n|$)){2,30})")
_IS_OR_ARE = re.compile(r"\b(?:is|are)\b|(?:[是为為]|等于)(?=\s?[-\d$\\(])")
# Chinese and Japanese words in front of a value.
_LEADING_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff，：\s]{1,60}(?=[-\d$\\(])")
# A sum in parentheses that say nothing.
_ENCLOSED = re.compile(r"\(([^(),]{1,200}=[^(),]{1,200})\)")
_NOT = re.compile(r"(?:not|none yet|unknown|unclear|to be)\b", re.IGNORECASE)
_MONEY = re.compile(r"\$\d[^$\n]{0,200}(?<![\\A-Za-z{])[A-Za-z]{4}[^$\n]{0,200}\$")
_AFTERTHOUGHT = re.compile(
    r"(?<=[\d$)}%])[,;]?\s{1,3}\(?(?:because|since|when|which|where|so|not|and not|but|however|after|given|due|as"
    r"|obviously|clearly|certainly|indeed|naturally|of course|as expected|I (?:think|believe|guess))\b.*",
    re.DOTALL,
)
_ENDING = re.compile(r"\s?(?:です|である|となります|になります|입니다|이다|이에요|है)\s{0,3}$")
_WORDS = re.compile(r"(?<![\\A-Za-z{])[^\W\d_]{2,}")
_AMOUNT = re.compile(r"[$€£¥]\s?\d[\d.,]{0,30}(?<!,)|(?<![\w.,])\d[\d.,]{0,30}\s?[$€£¥]")
_VALUE = re.compile(NUMBER.pattern + r"|\$[^$\n]{1,300}\$|\\\([^\n]{1,300}?\\\)")
# Behind the sentence: a word that corrects it, and a value; or that it is wrong.
_INSTEAD = r"[.!,:;…\s-]{0,5}[^.\n]{0,80}(?:\d|\\[a-z]|(?-i:\b[B-HJ]|\bA(?=[.)]|$))(?![\w'’]))"
_CORRECTED = re.compile(
    r"\b(?:wait|oops|actually|correction|scratch that|sorry|I mean|or rather|nope|not quite|hmm"
    rf"|no(?=[,:!—–]|\.\.|\swait))\b{_INSTEAD}"
    r"|\b(?:that|this|which)(?: is| was|['’]s) (?:wrong|incorrect|not (?:right|correct))\b",
    re.IGNORECASE,
)
_CORRECTED_INSIDE = re.compile(
    r"[,;:…—–(-]\s{0,3}(?:no[,\s]{1,2}wait|no(?=,)|wait|oops|sorry|scratch that|I mean|or rather|correction)\b"
    + _INSTEAD,
    re.IGNORECASE,
)


def after_tag(text: str) -> str | None:
    """What the last <answer> ... </answer> holds."""
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, end) if end >= 0 else -1
    content = text[start + len("<answer>") : end].strip()
    if start < 0 or len(content) > ANSWER_CHARACTERS:
        return None
    return after_final_answer(content) or after_answer_is(content) or trim(content)


def after_final_answer(text: str, problem: str = "") -> str | None:
    if "nswer" not in text and "NSWER" not in text and text.isascii():
        return None
    return _after_last(FINAL_ANSWER, text, problem)


def after_answer_is(text: str, problem: str = "") -> str | None:
    """What the text says the answer is, in English or else in another language."""
    found = _after_last(ANSWER_IS, text, problem) if names_answer(text) else None
    if found is None and not text.isascii():
        found = _after_last(_ANSWER_IS_OTHER, text, problem)
    if found is None and any(word in text for word in _WORDS_FOR_ANSWER):
        found = _after_last(_ANSWER_IS_LATIN, text, problem)
    return found


def names_answer(text: str) -> bool:
    """Whether the text has a word without which ANSWER_IS finds nothing."""
    return any(word in text for word in ("nswer", "NSWER", "orrect", "ORRECT", "ight", "IGHT"))


def in_field(text: str) -> str | None:
    """What JSON gives as "answer"."""
    last = last_match(_ANSWER_FIELD, text) if 'nswer"' in text or "nswer'" in text else None
    if last is None:
        return None
    quoted, single, bare = last.groups()
    return trim(quoted.replace("\\\\", "\\") if quoted is not None else single or bare)


def after_answer_line(text: str, problem: str = "") -> str | None:
    return _after_last(_ANSWER_LINE, text, problem)


def after_equals(text: str) -> str | None:
    """What the last sentence ends in, where it is of the form "therefore ... equals"."""
    last = last_match(_EQUALS, text[-300:])
    if last is None:
        return None
    behind = text[-300:][last.end() :]
    end = _SENTENCE_END.search(behind)
    return statement(behind) if end is None or not behind[end.end() :].strip() else None


def after_hashes_line(text: str) -> str | None:
    """A number behind #### on a line of its own, where less than a paragraph follows; else it is a heading."""
    for match in reversed(list(_HASHES.finditer(text[-ANSWER_CHARACTERS:]))):
        content = match.group(1).strip().rstrip(".")
        return trim(content) if NUMBER.fullmatch(content) else None
    inside = _HASHES_INSIDE.search(text.rstrip()[-ANSWER_CHARACTERS:])
    content = "" if inside is None else inside.group(1).lstrip(":：= ").rstrip(".")
    return trim(content) if NUMBER.fullmatch(content) else None


def _after_last(mark: re.Pattern[str], text: str, problem: str) -> str | None:
    """What the text says after the last mark: to the end of the sentence, or the formula that comes first."""
    last = None
    for match in mark.finditer(text):
        if not problem or text[match.start() : match.end() + 20] not in problem:
            last = match
    if last is None:
        return None
    answer = statement(text[last.end() : last.end() + 3 * ANSWER_CHARACTERS])
    # "The answer is positive" is said on the way to the answer.
    is_on_the_way = answer is not None and answer.islower() and answer.isalpha() and len(answer) > 1
    return None if is_on_the_way and len(text) - last.end() > _END_CHARACTERS else answer


def statement(behind: str) -> str | None:
    """The value that the text begins by stating; None if it is denied or corrected at once."""
    bullets = _BULLETS.match(behind)
    if bullets is not None:
        return ", ".join(trim(line.strip()[1:]) for line in bullets.group(1).splitlines())
    behind = _without_marks(behind)
    if _NOT.match(behind):
        return None
    choice = _CHOICE.match(behind)
    if choice is not None:
        return choice.group(1)
    if _MONEY.match(behind):
        behind = behind.replace("$", "")
    formula = _FORMULA.match(behind)
    if formula is not None and _CORRECTED.search(behind, formula.end(), formula.end() + 200):
        return None
    if formula is not None and not _MORE.match(behind, formula.end()):
        content = next(group for group in formula.groups() if group is not None)
        return with_percent(last_member(content), behind, formula.end())
    end = _SENTENCE_END.search(behind)
    sentence = behind if end is None else behind[: end.start()]
    if end is not None and _CORRECTED.search(behind, end.start(), end.start() + 200):
        return None
    if _CORRECTED_INSIDE.search(sentence, 0, 400):
        return None
    if _VALUE.match(sentence) is None:
        sentence = _IS_OR_ARE.split(sentence)[-1]
    sentence = _AFTERTHOUGHT.sub("", _ENDING.sub("", sentence))
    enclosed = _ENCLOSED.fullmatch(sentence.strip(" .*"))
    sentence = sentence if enclosed is None else enclosed.group(1)
    return _value(trim(sentence)) if len(sentence) <= ANSWER_CHARACTERS else None


def _without_marks(behind: str) -> str:
    """The text without marks that follow the mark, as in "Final Answer: The final answer is"."""
    bullet = _BULLET.match(behind)
    behind = behind[bullet.end() :] if bullet is not None else behind
    for _ in range(3):
        behind = behind.lstrip(_LEADING)
        filler = _FILLER.match(behind)
        behind = behind[filler.end() :].lstrip(_LEADING) if filler is not None else behind
        nested = next(_nested(behind), None)
        if nested is None:
            break
        behind = behind[nested.end() :]
    return behind


def _nested(behind: str) -> Iterator[re.Match[str]]:
    for pattern in (FINAL_ANSWER, ANSWER_IS):
        match = pattern.search(behind, 0, 60)
        if match is not None and re.fullmatch(
            r"(?:\W|the|my|our|so|correct|final)*", behind[: match.start()], re.I
        ):
            yield match


def _value(sentence: str) -> str | None:
    """A short answer as it is; of a sentence the one number or formula in it; None of prose without any."""
    if is_placeholder(sentence):
        return None
    words = _WORDS.findall(re.sub(r"\$[^$]*\$|\\\(.*?\\\)", "", sentence))
    values = [match.group() for match in _VALUE.finditer(sentence)]
    if len(words) <= 2:
        leading = _LEADING_WORDS.match(sentence) if len(values) == 1 else None
        return last_member(sentence if leading is None else sentence[leading.end() :])
    first = _VALUE.match(sentence)
    if first is not None:
        return sentence if len(words) <= 6 else trim(first.group())
    amounts = _AMOUNT.findall(sentence) if sentence.count("$") < 2 else []
    if len(values) == 1 or len(amounts) == 1:
        return trim(values[0] if len(values) == 1 else amounts[0])
    return None if len(words) > 12 and not values else sentence
