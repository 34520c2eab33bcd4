from mixdistill.boxes import boxed_reference
from mixdistill.text import after_hashes


def test_the_last_closed_box_is_taken_with_balanced_braces() -> None:
    assert boxed_reference(r"\boxed{1}, and therefore \fbox{\frac{a}{b}}") == r"\frac{a}{b}"


def test_boxes_that_stand_together_are_one_reference() -> None:
    assert boxed_reference(r"We get \boxed{x=3} and \boxed{y=4}") == "x=3, y=4"


def test_a_box_that_is_not_closed_hides_the_earlier_ones() -> None:
    assert boxed_reference(r"\boxed{1} and \boxed{2") is None


def test_braces_outside_of_boxes_change_nothing() -> None:
    assert boxed_reference(r"} { \boxed{5} { } }") == "5"


def test_an_empty_box_is_none() -> None:
    assert boxed_reference(r"\boxed{ }") is None


def test_a_box_without_braces_is_one() -> None:
    assert boxed_reference(r"so \boxed 12.") == "12"


def test_hashes_count_on_the_last_line_alone() -> None:
    assert after_hashes("a\n#### 5\r\n\r\n") == "5"
    assert after_hashes("#### 5\nmore") is None
    assert after_hashes("##### 5") is None
    assert after_hashes("####") is None


def test_megabytes_of_braces_take_linear_time() -> None:
    assert boxed_reference(r"\boxed{" * 100_000) is None
    assert boxed_reference("{" * 500_000 + r"\boxed{3}") == "3"
