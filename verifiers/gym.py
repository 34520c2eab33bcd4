"""Judges answers to problems of reasoning-gym, by the puzzle and by its own scorer where that can be trusted.

In: the reference, the answer and the puzzle. Out: an Equality. Scorers there are rewards for training: some give
full marks to a near miss (a sorted list may be off by one, any answer stands for "True", a list may have more
words than were asked for), and some evaluate the answer as code. So a scorer is asked only where several answers
are right, only for datasets on the list here, and only full marks count; in this process only if it evaluates
nothing, in the release that was read for that list. Everything else has one right answer and
is compared with it by our own rules. Arithmetic puzzles are checked here, with exact fractions. A scorer that
evaluates text runs in the sandbox alone; for a dataset that is on no list only the reference itself is correct.
"""

import ast
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import re
import secrets
import sys
import types
import warnings
from collections.abc import Mapping
from fractions import Fraction
from functools import cache

from mixdistill.verifiers.answer_types import compare_number, unwrap_text
from mixdistill.verifiers.equality import Equality
from mixdistill.verifiers.equivalence import compare
from mixdistill.verifiers.grading import GymGrading
from mixdistill.verifiers.notation import LONGEST_ANSWER
from mixdistill.verifiers.sandbox import Limits, run_in_sandbox, why_no_sandbox

# Several answers are right and the scorer evaluates nothing: a test derives that from the installed source.
SCORED = frozenset({
    "cryptarithm", "family_relationships", "group_anagrams", "jugs", "kakurasu",
    "knight_swap", "knights_knaves", "palindrome_generation", "palindrome_partitioning", "power_function",
    "prime_factorization", "quantum_lock", "shortest_path", "sokoban", "time_intervals", "tower_of_hanoi",
    "word_ladder",
})  # fmt: skip
# Several answers are right and the scorer evaluates the answer.
SANDBOXED = frozenset({"intermediate_integration", "simple_integration"})
ARITHMETIC = frozenset({"countdown", "puzzle24"})
# One right answer: a formula or a number, which may be written in many ways.
FORMULAS = frozenset({
    "advanced_geometry", "coin_flip", "complex_arithmetic", "dice", "polynomial_equations",
    "polynomial_multiplication",
})  # fmt: skip
# One right answer, as text: the spelling counts, but for white space, case and the marks of lists.
TEXTS = frozenset({
    "ab", "acre", "aiw", "arc_1d", "arc_agi", "base_conversion", "basic_arithmetic", "bf", "binary_alternation",
    "binary_matrix", "bitwise_arithmetic", "caesar_cipher", "calendar_arithmetic", "chain_sum", "circuit_logic",
    "codeio", "color_cube_rotation", "count_bits", "count_primes", "course_schedule", "decimal_arithmetic",
    "decimal_chain_sum", "emoji_mystery", "figlet_font", "futoshiki", "game_of_life", "game_of_life_halting",
    "gcd", "gsm_symbolic", "isomorphic_strings", "largest_island", "lcm", "leg_counting", "letter_counting",
    "letter_jumble", "list_functions", "mahjong_puzzle", "manipulate_matrix", "maze", "mini_sudoku",
    "modulo_grid", "n_queens", "needle_haystack", "number_filtering", "number_format", "number_sequence",
    "number_sorting", "path_star", "pool_matrix", "products", "ransom_note", "rearc", "rectangle_count",
    "rotate_matrix", "rotten_oranges", "self_reference", "sentence_reordering", "simple_equations",
    "simple_geometry", "spell_backward", "spiral_matrix", "string_insertion", "string_manipulation",
    "string_splitting", "string_synthesis", "sudoku", "survo", "syllogism", "tsumego", "word_sequence_reversal",
    "word_sorting", "zebra_puzzles", "fraction_simplification",
})  # fmt: skip
# Texts whose digits are no decimal number: in base 16, 1e3 is not 1000.
DIGITS = frozenset({"base_conversion"})
# The release whose scorers were read for these lists; those of another one are asked in the sandbox alone.
READ_RELEASE = "0.1.25"
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_SIGNS = {
    r"\times": "*", r"\cdot": "*", r"\div": "/", "×": "*", "·": "*", "÷": "/", "−": "-",
    r"\left": "", r"\right": "",
}  # fmt: skip
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ARITHMETIC_ONLY = re.compile(r"[\d\s+*/()-]+", re.ASCII)
_LONGEST_ARITHMETIC = 500
_LONGEST_NUMBER = 12

_SCORING = """\
import importlib.machinery, json, os, sys, types, warnings
def _main(read=os.read, write=os.write, leave=os._exit, dumps=json.dumps):
    verdict, token = int(sys.argv[1]), int(sys.argv[2])
    given = json.loads(sys.stdin.buffer.read())
    warnings.simplefilter("ignore")
    try:
        import pycosat
    except ImportError:
        empty = sys.modules["pycosat"] = types.ModuleType("pycosat")
        empty.__spec__ = importlib.machinery.ModuleSpec("pycosat", loader=None)
    from reasoning_gym.factory import get_score_answer_fn
    score = get_score_answer_fn(given["dataset"])(given["answer"], given["entry"])
    write(verdict, dumps({"score": float(score), "token": read(token, 100).decode()}).encode())
    leave(0)
_main()
"""
_SCORING_LIMITS = Limits(seconds=20.0, memory_mb=2_048)


def score_with_gym(reference: str, answer: str, grading: GymGrading) -> Equality:
    """The verdict on an answer; the time limit is the caller's, but for the sandbox."""
    if len(answer) > LONGEST_ANSWER:
        return Equality("unparsable", "gym", f"the answer is longer than {LONGEST_ANSWER} characters")
    name = grading.dataset
    if _text_key(answer) == _text_key(reference):
        return Equality("correct", "text", "the texts are the same")
    if name in ARITHMETIC:
        return _check_arithmetic(answer, grading)
    if name in SCORED and _installed_release() == READ_RELEASE:
        scores = (_score(text, grading) for text in _readings(answer))
        return _from_score(max(scores))
    if name in SCORED | SANDBOXED:
        return _score_in_sandbox(answer, grading)
    if _PLAIN_NUMBER.fullmatch(reference) and name not in DIGITS:
        return compare_number(reference, answer, absolute=None, relative=None)
    if name in FORMULAS:
        return compare(reference, answer)
    if name in TEXTS:
        return _compare_texts(reference, answer, grading)
    return Equality(
        "unscored", "gym", f"how reasoning-gym scores {name} is not known here; it may evaluate answers"
    )


@cache
def _installed_release() -> str:
    return importlib.metadata.version("reasoning-gym")


def _readings(answer: str) -> list[str]:
    """The answer as it stands, and without the marks of LaTeX that a scorer does not know."""
    plain = unwrap_text(_FRACTION.sub(r"\1/\2", answer)).replace("\\{", "{").replace("\\}", "}")
    return list(dict.fromkeys((answer.strip(), plain)))


def _from_score(score: float) -> Equality:
    if score == 1.0:
        return Equality("correct", "gym", "reasoning-gym's scorer gives full marks")
    return Equality("incorrect", "gym", f"reasoning-gym's scorer gives {score:.2g} of 1")


def _score(answer: str, grading: GymGrading) -> float:
    """The score, in this process; of a scorer that fails, none."""
    if grading.dataset not in SCORED:
        raise ValueError(f"{grading.dataset} is not scored outside the sandbox")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("pycosat") is None:  # C source on PyPI; no scorer uses it
            empty = types.ModuleType("pycosat")
            empty.__spec__ = importlib.machinery.ModuleSpec("pycosat", loader=None)
            sys.modules.setdefault("pycosat", empty)
        from reasoning_gym.factory import get_score_answer_fn

        try:
            return float(get_score_answer_fn(grading.dataset)(answer, json.loads(grading.entry)))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError):
            return 0.0  # an answer that its author did not foresee


def _score_in_sandbox(answer: str, grading: GymGrading) -> Equality:
    reason = why_no_sandbox()
    if reason is not None:
        return Equality("unscored", "gym", f"reasoning-gym's scorer evaluates answers as code; {reason}")
    best = 0.0
    for text in _readings(answer):
        token = secrets.token_hex(16)
        given = {"dataset": grading.dataset, "answer": text, "entry": json.loads(grading.entry)}
        run = run_in_sandbox(_SCORING, json.dumps(given).encode(), token=token.encode(), limits=_SCORING_LIMITS)
        try:
            said = json.loads(run.verdict)
            if said["token"] == token:
                best = max(best, float(said["score"]))
                continue
        except (ValueError, KeyError, TypeError):
            pass
        last = run.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        what = "took too long" if run.timed_out else f"failed: {last}"
        return Equality("unscored", "gym", f"reasoning-gym's scorer {what}")
    return _from_score(best)


def _compare_texts(reference: str, answer: str, grading: GymGrading) -> Equality:
    """Equality with the one right text, or with one of those that the puzzle lists (n_queens)."""
    listed = json.loads(grading.entry).get("metadata", {}).get("valid_answers")
    right = [*_readings(reference), *(text for text in listed or [] if isinstance(text, str))]
    for text in _readings(answer):
        if any(_text_key(text) == _text_key(each) for each in right):
            return Equality("correct", "text", "the texts are the same")
        values = _list_key(text)
        if values is not None and values == _list_key(reference):
            return Equality("correct", "text", "the lists are the same")
    return Equality("incorrect", "text", "the texts differ")


def _text_key(text: str) -> str:
    return re.sub(r" ?, ?", ",", " ".join(text.split())).casefold()


def _list_key(text: str) -> object:
    """What a list in JSON or in Python's spelling holds, numbers by value; None for anything else."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        return _by_value(json.loads(text.replace("'", '"'), parse_float=Fraction, parse_constant=str))
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _by_value(value: object) -> object:
    if isinstance(value, list):
        return [_by_value(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _by_value(each) for key, each in value.items()}
    if isinstance(value, str) and len(value) < 50 and _PLAIN_NUMBER.fullmatch(value):
        return Fraction(value)
    return value


def _check_arithmetic(answer: str, grading: GymGrading) -> Equality:
    """Whether a calculation uses each of the given numbers once and comes to the target."""
    metadata = json.loads(grading.entry).get("metadata", {})
    numbers, target = metadata.get("numbers"), metadata.get("target", 24)
    if (
        not isinstance(numbers, list)
        or not all(isinstance(n, int) for n in numbers)
        or not isinstance(target, int)
    ):
        return Equality("unscored", "gym", "the puzzle lacks its numbers or its target")
    text = unwrap_text(_FRACTION.sub(r"((\1)/(\2))", answer))
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    text = text.partition("=")[0].strip()
    if len(text) > _LONGEST_ARITHMETIC or not _ARITHMETIC_ONLY.fullmatch(text):
        return Equality("unparsable", "gym", "the answer is not a calculation with + - * / and whole numbers")
    try:
        used: list[int] = []
        value = _calculate(ast.parse(text, mode="eval").body, used)
    except (SyntaxError, ValueError, RecursionError, MemoryError, ZeroDivisionError) as error:
        return Equality("unparsable", "gym", f"the calculation cannot be read: {error}")
    if sorted(used) != sorted(numbers):
        return Equality("incorrect", "gym", "the calculation does not use each of the numbers once")
    if value != target:
        return Equality("incorrect", "gym", f"the calculation does not come to {target}")
    return Equality("correct", "gym", f"the calculation uses each of the numbers once and comes to {target}")


def _calculate(node: ast.expr, used: list[int]) -> Fraction:
    """The value of a tree of + - * / and whole numbers, which are added to `used`."""
    if isinstance(node, ast.Constant) and type(node.value) is int and len(str(node.value)) <= _LONGEST_NUMBER:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_calculate(node.operand, used)
    if isinstance(node, ast.BinOp):
        left, right = _calculate(node.left, used), _calculate(node.right, used)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
    raise ValueError("only + - * / and whole numbers are read")
