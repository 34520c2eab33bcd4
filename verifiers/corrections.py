r"""Tells what a writer takes back: an answer that is someone else's or called wrong, a box that words revise.

Goes in: the text of a response. Comes out: the text without answers that are not the writer's own, or the value
that is put in the place of a box. Only English is read here; a response in another language keeps its box. All
patterns are linear in the length of the text.
"""

import re

from mixdistill.boxes import ANSWER_CHARACTERS, Box
from mixdistill.verifiers import marks
from mixdistill.verifiers.formulas import NUMBER, last_member, trim

# Said of the box right before it.
_TAKES_BACK = re.compile(
    r"[\s$.,;:!*)\]}\\]{0,20}(?:\b(?:wait|hmm+|oops|oh|no|nope|but|hold on|actually|sorry)\b[\s,.!…-]{0,9}){0,4}"
    r"(?:(?:that|this|it|which|(?:my|the|that|this) (?:answer|result|value))(?:['’]s| is| was| must be)"
    r" (?:just |clearly |obviously )?(?:wrong|incorrect|false|a mistake|an error|not (?:right|correct))"
    r"|(?:scratch|ignore|disregard|forget) that|I(?: was wrong| made (?:a|an) (?:\w{1,12} )?(?:mistake|error)))"
    r"(?=\s{0,3}(?:[.,;:!?)…—–\n-]|$|because\b|since\b|as\b|but\b|so\b))",
    re.IGNORECASE,
)
# "This is wrong" behind such a box repeats it.
_SAYS_NO = re.compile(r"\b(?:no|not|false|incorrect|wrong|never|impossible|disagree|invalid)\b", re.IGNORECASE)
_STANDS = re.compile(
    r"\b(?:is|was|be|seems|looks) (?:\w{1,10} )?(?:correct|right|fine)\b|after all\b|\bstands\b|\bconfirm",
    re.IGNORECASE,
)
# Before a value that is not, or no longer, stated.
_NO_MORE = re.compile(r"(?:\bnot|n['’]t|≠|instead of|\bthan|\bI (?:said|wrote|had|got|gave))[\s$:*]{0,5}$")
# Of a long text only the end is read.
_READ_CHARACTERS = 4_400

# No attribution is longer than this.
_CLAUSE_CHARACTERS = 64
# What is further from the end says nothing that counts.
_LAST_CHARACTERS = 20_000
# Before "answer is": whose it is, where it is not the writer's own.
_NOT_OWN = re.compile(
    r"\b(?:(?:some|others?|someone|somebody|people|many|most|few|one|you|they|he|she|students?|pupils?|friends?"
    r"|teachers?|users?|(?:text)?books?|internet"
    r"|(?-i:(?!It\b|This|That|Which|We\b|All\b|So\b|Py|Sym|Wolf|Code|Calc|Math|Every)[A-Z][a-z]{1,15}))"
    r" (?:(?:of \w{1,10}|else|people|students|may|might|would|will|often|also|mistakenly|wrongly"
    r"|(?:is|are) tempted to) ){0,2}"
    r"(?:says?|said|claims?|claimed|thinks?|thought|believes?|believed|guess(?:es|ed)?|argues?|insists?)"
    r"|(?:tempting|mistake|error|wrong|incorrect|false|naive|misconception)(?: is)? to"
    r" (?:say|think|believe|claim|assume|conclude)"
    r"|(?:first|initially|originally|mistakenly|wrongly) (?:thought|said|assumed|believed|wrote|claimed))"
    r",?(?: that)?(?: (?:the|their|his|her))?(?: (?:correct|final|right))?\s$"
    r"|\b(?:student|pupil|user|friend|classmate|someone|somebody|person|else|opponent)(?:['’]s|s['’])"
    r"(?: \w{1,12})?\s$"
    r"|\b(?P<wrong>incorrect|wrong|false|mistaken|erroneous|naive|tempting|invalid|flawed)(?: final)?\s$",
    re.IGNORECASE,
)
_MAY_DISOWN = re.compile(
    r"['’]|\b(?:sa[iy]|claim|th[io]|beli|guess|argu|insist|assum|conclu|wro|incor|false|mistak|erron|naive|tempt|inval|flaw)",
    re.IGNORECASE,
)
# Behind it: that it is wrong.
_REJECTED = re.compile(
    r"(?!\W{0,9}(?:false|no|not|incorrect|wrong|never|invalid|impossible)\b)"
    r"(?:(?!\b(?:because|since|as|otherwise|if|so|for|when)\b)(?:[^.!?\n]|\.(?=\d))){1,40}?"
    r"(?:[.!]\s{1,3}(?:but |no, |however, )?)?\b(?:which|that|this|it)(?: is| was|['’]s) (?:clearly |obviously )?"
    r"(?:wrong|incorrect|false|not (?:right|correct|true))"
    r"(?=\s{0,3}(?:[.,;:!)…—–-]|$|\n|because\b|since\b|but\b|so\b))",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r".{0,300}?(?:(?=$)|[.!?;](?=\s|$)|\n"
    r"|,?\s(?=(?:but|however|while|whereas|yet|though|although)\b|and (?:I|we|the|it)\b)"
    r"|,\s(?!which|that|because|since|as\b|or\b|and\b)(?=[A-Za-z][a-z]|I\b))"
)
# A problem that asks for what is wrong or for what another one says.
_ASKS_FOR_WRONG = re.compile(
    r"\b(?:incorrect|wrong|false|not (?:true|correct|right|valid)|except|mistaken|error)\b", re.IGNORECASE
)
_ASKS_FOR_OTHERS = re.compile(
    r"\b(?:what|which|find|determine|compute)\b[^.?!\n]{0,80}"
    r"(?:(?:['’]s|s['’]) (?:\w{1,12} )?answer|\b(?:say|think|claim|believe)s?\b)",
    re.IGNORECASE,
)
# Between the words that revise a box and the value in its place.
_REVISION_CHARACTERS = 200
# Behind a box: words that revise it, one or several in a row.
_CUE = re.compile(
    r"(?:(?:^|(?<=[\s,;:.!…)\]}$*—–-]))(?:but |oh,? |so |and )?"
    r"(?:wait|actually|correction|edit|sorry|oops|no(?=[,:.!—–]|\swait)|hmm+|hold on|my (?:bad|mistake)"
    r"|I mean|or rather|(?:scratch|strike|make|ignore|disregard|forget) that"
    r"|(?:up)?on (?:\w{1,10} )?(?:re-?\w{3,12}|second thoughts?|inspection|double[- ]check\w{0,3})"
    r"|after (?:\w{1,10} )?(?:re-?(?:check|calc|comput|eval|consider|read|examin|view)\w{0,8}"
    r"|double[- ]check\w{0,3})"
    r"|I (?:was wrong|mis\w{3,12}|made (?:a|an) (?:\w{1,12} )?(?:mistake|error))|(?:I |my )?apolog\w{1,7}"
    r"|let me (?:correct|fix) (?:that|this|it|myself)"
    r"|(?:that|this|it|[$\w.\\{}/-]{1,20})(?:['’]s| is| was) (?:wrong|incorrect|not (?:right|correct)))\b"
    r"[\s,.:!…*—–-]{0,9}){1,4}|^[\s.,;$!)*\]}\\]{0,9}(?=(?:it|that|this|which) should (?:be|have been)\b)",
    re.IGNORECASE,
)
_REVISED = re.compile(
    r"\b(?P<should>it|that|this|which|result|value|total|number)\s(?:should|must|ought to|has to)\s(?:actually\s)?"
    r"(?:be|have been)\b"
    r"|\b(?:correct(?:ed)?|right|actual|true|real|new|proper|revised|final)\s(?:value|result|total|number|sum|one|solution)"
    r"\s(?:is|equals|should be|must be)\b|\b(?:result|value|total)\s(?:is|equals)\b|"
    + marks.ANSWER_IS.pattern
    + "|"
    + marks.FINAL_ANSWER.pattern,
    re.IGNORECASE,
)
_IT_IS = re.compile(
    r"(?:(?:it|that|this)(?:['’]s| is)|(?:I|we) (?:get|mean|have)) (?:actually |really )?", re.IGNORECASE
)
_REASON = re.compile(r",?\s(?:not|because|since|instead|is (?:the )?(?:correct|right))\b.*", re.DOTALL)
# What stands before or behind a value that does not revise the box.
_SUPPOSES = re.compile(
    r"\b(?:if|were|would|suppos\w{1,4}|assum\w{1,4}|had|without|otherwise|some|someone|many|people|they|others?|might"
    r"|could|wrong|incorrect|student\w{0,2})\b",
    re.IGNORECASE,
)
_CHECKS = re.compile(r"\b(?:check|verif)", re.IGNORECASE)
_SHORT = re.compile(r"[^\n?]{1,100}?(?=[.!;](?:[\s*]|$)|\*{0,2}(?:\n|$))")
_EXACT = re.compile(r"\\(?:[dt]?frac|sqrt|pi)|/")
_IMPRECISE = re.compile(
    r"(?:(?!\b(?:because|since|as|so)\b)[^.!?\n]){0,80}?(?:\?|\\approx|≈|\b(?:about|approx\w{0,7}|roughly|around"
    r"|nearly|almost|digits?|decimals?|significant|rounded|if|more|less|fewer|times|at (?:most|least))\b)",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\W{0,3}(?:\\text\{\W{0,3})?[A-J]\W{0,3}")
_VALUE = re.compile(
    r"(?:[A-Za-z]\w?\s?=)?(?:[^=<>\w\\]|\d|\\[A-Za-z]+(?![A-Za-z])|\\[^A-Za-z]|[A-Za-z](?![A-Za-z]))+"
)


def taken_back_until(box: Box, text: str) -> int | None:
    """Where the text goes on behind the words that take the box back; None if there are none, or it stands."""
    match = _TAKES_BACK.match(text, box.end)
    if match is None or _SAYS_NO.search(box.content):
        return None
    behind = text[match.end() :]
    stands = _STANDS.search(behind[-_READ_CHARACTERS:]) or is_repeated(box.content, behind)
    return None if stands else match.end()


def is_repeated(content: str, behind: str) -> bool:
    """Whether the text has the content as a whole, not as what it is not or was before."""
    whole = re.compile(rf"(?<![\w.]){re.escape(content)}(?!\w|[.,]\d)")
    before = (behind[max(0, at.start() - 30) : at.start()] for at in whole.finditer(behind))
    return not all(map(_NO_MORE.search, before))


def own_words(text: str, problem: str) -> str:
    """The text without answers that it gives as someone else's or calls wrong, unless these are asked for."""
    if not marks.names_answer(text):
        return text
    asks_for_wrong, asks_for_others = _ASKS_FOR_WRONG.search(problem), _ASKS_FOR_OTHERS.search(problem)
    kept, begin = [], 0
    for mark in marks.ANSWER_IS.finditer(text, max(0, len(text) - _LAST_CHARACTERS)):
        whose = None
        if _MAY_DISOWN.search(text, max(begin, mark.start() - 40), mark.start()):
            whose = _NOT_OWN.search(text, max(begin, mark.start() - _CLAUSE_CHARACTERS), mark.start())
        end = None if asks_for_wrong else _REJECTED.match(text, mark.end())
        if end is None and whose is not None and not (asks_for_wrong if whose["wrong"] else asks_for_others):
            end = _CLAUSE.match(text, mark.end())
        if end is not None:
            kept.append(text[begin : mark.start() if whose is None else whose.start()])
            begin = max(begin, end.end())
    return ". ".join([*kept, text[begin:]])  # what is left is not a whole response


def revised_value(boxed: str, behind: str) -> str | None:
    """The last value that words behind a box put in its place; None if none do, or if the box is given again."""
    revised, end = None, 0
    behind = behind[-ANSWER_CHARACTERS:]
    for cue in _CUE.finditer(behind):
        value, at = _instead(behind, cue.end())
        if value is not None and _may_replace(value, boxed):
            revised, end = (None if is_repeated(boxed, value) else value), at
    return None if revised is None or is_repeated(boxed, behind[end:]) else revised


def _instead(text: str, start: int) -> tuple[str | None, int]:
    """The value that a text states behind words that revise, at once or by a mark, and where it begins."""
    it_is = _IT_IS.match(text, start)
    at = start if it_is is None else it_is.end()
    sentence = _SHORT.match(text, at)
    value = "" if sentence is None else _REASON.sub("", sentence.group()).strip("* ")
    if (
        NUMBER.fullmatch(value)
        or _LETTER.fullmatch(value)
        or (value[:1] in "$\\" and _VALUE.fullmatch(trim(value)))
    ):
        return last_member(value), at
    mark = _REVISED.search(text, start, start + _REVISION_CHARACTERS)
    if mark is None or _SUPPOSES.search(text, start, mark.end()) or _IMPRECISE.match(text, mark.end()):
        return None, start
    if mark["should"] and _CHECKS.search(text, start, mark.start()):
        return None, start
    return marks.statement(text[mark.end() : mark.end() + ANSWER_CHARACTERS]), mark.end()


def _may_replace(value: str, boxed: str) -> bool:
    """Whether the value is of the kind that the box is: a letter for a letter, no decimal for an exact value."""
    if _LETTER.fullmatch(boxed):
        return _LETTER.fullmatch(value) is not None
    is_decimal_of_exact = "." in value and _EXACT.search(boxed) is not None
    return not is_decimal_of_exact and (NUMBER.match(value) or _VALUE.fullmatch(value[:200])) is not None
