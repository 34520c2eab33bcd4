r"""Says whether an answer is equal to the reference, by tiers: text, numbers, parts, values, algebra.

Goes in: two texts, LaTeX or plain. Comes out: an Equality with a status, the tier that decided and why. The
cheap tiers leave open what has no value that can be computed, such as an integral; that is left to SymPy. Our
own parser reads both sides, so that no text is ever evaluated as code. Pure functions: time and memory limits
are set by `workers`. Lists, sets and relations are walked through in `parts`; what may differ in digits, units,
order and form is in `leniency`. 3 is never "3, 4".
"""

from mixdistill.records import Leniency
from mixdistill.verifiers.bases import Based, read_based
from mixdistill.verifiers.equality import Equality, decided
from mixdistill.verifiers.latex import parse
from mixdistill.verifiers.leniency import compare_quantities, is_rounding_of
from mixdistill.verifiers.moments import moment
from mixdistill.verifiers.nodes import Node
from mixdistill.verifiers.notation import LONGEST_ANSWER, choice_letter, is_words, tidy
from mixdistill.verifiers.parts import How, compare_parts
from mixdistill.verifiers.quantities import quantity, split_unit
from mixdistill.verifiers.shapes import RELATIONS, shape
from mixdistill.verifiers.tokens import Unreadable
from mixdistill.verifiers.trees import common_logarithms
from mixdistill.verifiers.units import units_differ
from mixdistill.verifiers.values import Decision, compare_values


def compare(reference: str, answer: str, leniency: Leniency = "default") -> Equality:
    """Equality by all tiers, in this process and without a time limit."""
    return compare_quickly(reference, answer, leniency) or compare_symbolically(reference, answer, leniency)


def compare_quickly(reference: str, answer: str, leniency: Leniency = "default") -> Equality | None:
    r"""Equality by the tiers that need no algebra; None if they leave it open.

    >>> compare_quickly("1/2", r"\dfrac{1}{2}").status, compare_quickly("100", "101").reason
    ('correct', 'the numbers differ')
    """
    if len(reference) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return _compare_long(reference, answer)
    wanted, stated = tidy(reference), tidy(answer)
    if not wanted:
        return Equality("unscored", "text", "the reference is empty")
    return compare_parts(wanted, stated, How(_compare_single_quickly, leniency))


def compare_symbolically(reference: str, answer: str, leniency: Leniency = "default") -> Equality:
    """Equality by algebra; what cannot be read or decided has its own status."""
    if len(reference) > LONGEST_ANSWER or len(answer) > LONGEST_ANSWER:
        return _compare_long(reference, answer)
    equality = compare_parts(tidy(reference), tidy(answer), How(_compare_single, leniency))
    return equality or Equality("unscored", "symbolic", "the two have shapes that cannot be compared")


def normal_form(text: str) -> str:
    r"""How the comparison reads a text: its kind and its parts, numbers as fractions; for people.

    >>> normal_form(r"\dfrac{2}{4}"), normal_form("x < 5, x > 2")
    ('1/2', 'list of: x < 5; x > 2')
    """
    if len(text) > LONGEST_ANSWER:
        return f"a text of {len(text):,} characters"
    form = shape(tidy(text))
    if form.kind == "single":
        number = quantity(form.parts[0])
        return " ".join((str(number.number), number.unit)).strip() if number else form.parts[0]
    if set(form.kind.split()) <= RELATIONS:
        return f" {form.kind} ".join(map(normal_form, form.parts)) if " " not in form.kind else tidy(text)
    return f"{form.kind} of: " + "; ".join(map(normal_form, form.parts))


def prepare() -> None:
    """Import SymPy and run it once, so that the first comparison does not pay for it."""
    compare_symbolically(r"\int 2x\,dx", "x^2")


def _compare_long(reference: str, answer: str) -> Equality:
    if " ".join(reference.split()) == " ".join(answer.split()):
        return Equality("correct", "text", "the texts are the same")
    return too_long(reference)


def too_long(reference: str) -> Equality:
    """What is said of a reference and an answer of which one is longer than LONGEST_ANSWER."""
    reason = f"is longer than {LONGEST_ANSWER} characters, too long to be read as an answer"
    if len(reference) > LONGEST_ANSWER:
        return Equality("unscored", "text", f"the reference {reason}")
    return Equality("unparsable", "text", f"the answer {reason}")


def _compare_single_quickly(wanted: str, stated: str, leniency: Leniency) -> Equality | None:
    time, stated_time = moment(wanted), moment(stated)
    if time is not None and stated_time is not None:
        return decided(time == stated_time, "moment", "it is the same date or time", "the dates or times differ")
    based, stated_based = read_based(wanted), read_based(stated)
    if based is not None or stated_based is not None:
        return _compare_based(based, stated_based, (wanted, stated), leniency)
    number, stated_number = quantity(wanted), quantity(stated)
    if number is not None and stated_number is None:
        stated_number = quantity(stated, letters=True)
    elif stated_number is not None and stated_number.unit and number is None:
        number = quantity(wanted, letters=True)
    if number is not None and stated_number is not None:
        return compare_quantities(number, stated_number, leniency)
    letter, chosen = choice_letter(wanted), choice_letter(stated, labelled=True)
    if letter is not None and chosen is not None:
        return decided(letter == chosen, "choice", "it is the same choice", "it is another choice")
    if is_words(wanted) and (is_words(stated) or stated_number is not None):
        return Equality("incorrect", "text", "the words differ")
    if is_words(stated) and number is not None:
        return Equality("incorrect", "text", "the answer is words, the reference a number")
    return _compare_trees(wanted, stated, leniency)


def _compare_based(
    first: Based | None, second: Based | None, texts: tuple[str, str], leniency: Leniency
) -> Equality:
    """Equality of numbers of which one or both state a base; one that states none is decimal, or leaves it out."""
    if first is not None and second is not None:
        same = first.value == second.value
    else:
        based, text = (first, texts[1]) if first is not None else (second, texts[0])
        number = quantity(text)
        same = based is not None and (
            (number is not None and number.number == based.value)
            or (leniency != "strict" and text.strip().upper() == based.digits)
        )
    return decided(same, "number", "the numbers are equal in their bases", "the numbers in their bases differ")


def _compare_trees(wanted: str, stated: str, leniency: Leniency) -> Equality | None:
    """Equality of two expressions by their values; None where values cannot tell."""
    trees = _read_both(wanted, stated)
    if isinstance(trees, Equality):
        return trees
    first, second = trees
    decision = compare_values(first, second)
    if decision is not None and not decision.equal:
        decision = _with_other_logarithm(first, second) or decision
    if decision is None:
        return None
    if decision.equal:
        return Equality("correct", decision.method, "the expressions have the same value")
    if is_rounding_of(wanted, stated, first, second, leniency):
        return Equality("correct", "rounding", "one is the other, rounded to the digits that it states")
    return Equality("incorrect", decision.method, "the expressions have different values")


def _read_both(wanted: str, stated: str) -> tuple[Node, Node] | Equality:
    (bare, unit), (other, other_unit) = _without_unit(wanted), _without_unit(stated)
    if units_differ(unit, other_unit):
        return Equality("incorrect", "unit", f"the units {unit} and {other_unit} differ")
    comparable = unit == other_unit or not (unit and other_unit)
    if comparable and bare and other and '"' not in bare + other:
        wanted, stated = bare, other
    wanted, stated = (side.removeprefix("¤") if side.count("¤") == 1 else side for side in (wanted, stated))
    try:
        first = parse(wanted)
    except Unreadable as error:
        return Equality("unscored", "symbolic", f"the reference cannot be read: {error}")
    try:
        return first, parse(stated)
    except Unreadable as error:
        return Equality("unparsable", "symbolic", f"the answer cannot be read: {error}")


def _with_other_logarithm(first: Node, second: Node) -> Decision | None:
    r"""The values once more with \log to the base ten, as schools mean it; None if none stands there."""
    ten, other_ten = common_logarithms(first), common_logarithms(second)
    if (ten, other_ten) == (first, second):
        return None
    decision = compare_values(ten, other_ten)
    return decision if decision is not None and decision.equal else None


def _compare_single(wanted: str, stated: str, leniency: Leniency) -> Equality | None:
    quick = _compare_single_quickly(wanted, stated, leniency)
    if quick is not None:
        return quick
    from mixdistill.verifiers.expressions import build, equal

    trees = _read_both(wanted, stated)
    if isinstance(trees, Equality):
        return trees
    try:
        first = build(trees[0])
    except Unreadable as error:
        return Equality("unscored", "symbolic", f"the reference cannot be computed: {error}")
    try:
        second = build(trees[1])
    except Unreadable as error:
        return Equality("unparsable", "symbolic", f"the answer cannot be computed: {error}")
    verdict, method = equal(first, second)
    if verdict == "undecided":
        return Equality("unscored", method, "SymPy could not decide whether they are equal")
    return decided(verdict == "equal", method, "the expressions are equal", "the expressions differ")


def _without_unit(text: str) -> tuple[str, str]:
    """The text without a trailing unit; a degree mark stays, since it changes the value of a formula."""
    body, unit = split_unit(text)
    return (text, "") if unit == "degree" else (body, unit)
