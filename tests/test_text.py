from mixdistill.text import after_hashes, last_boxed


def test_the_last_closed_box_is_taken_with_balanced_braces() -> None:
    assert last_boxed(r"\boxed{1} and \fbox{\frac{a}{b}}") == r"\frac{a}{b}"


def test_a_box_that_is_not_closed_hides_the_earlier_ones() -> None:
    assert last_boxed(r"\boxed{1} and \boxed{2") is None


def test_braces_outside_of_boxes_change_nothing() -> None:
    assert last_boxed(r"} { \boxed{5} { } }") == "5"


def test_an_empty_box_is_none() -> None:
    assert last_boxed(r"\boxed{ }") is None


def test_two_hundred_boxes_give_the_last() -> None:
    assert last_boxed("".join(rf"\boxed{{{n}}}" for n in range(200))) == "199"


def test_hashes_count_on_the_last_line_alone() -> None:
    assert after_hashes("a\n#### 5\r\n\r\n") == "5"
    assert after_hashes("#### 5\nmore") is None
    assert after_hashes("##### 5") is None
    assert after_hashes("####") is None


def test_megabytes_of_braces_take_linear_time() -> None:
    assert last_boxed(r"\boxed{" * 100_000) is None
    assert last_boxed("{" * 500_000 + r"\boxed{3}") == "3"
