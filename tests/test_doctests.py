"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import mixdistill

MODULES = [
    module.name
    for module in pkgutil.walk_packages(mixdistill.__path__, "mixdistill.")
    if module.name != "mixdistill.__main__"
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
