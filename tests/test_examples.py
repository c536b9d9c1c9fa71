"""The runnable examples in the docstrings print what they say."""

import doctest
import importlib

import docstrings
import pytest

import mofa_lib

STARTED_WITH = (
    "CodeDistance", "Detector", "FaceCode", "FaceRenderer", "LatentAttack", "MoFA",
    "apgd", "check_attack", "load_detector", "load_morphable_model", "load_pretrained", "profile",
)  # fmt: skip
MODULES = sorted(
    name
    for name, module in docstrings.read_library().items()
    if any(">>>" in entry.doc for entry in module.walk())
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, tried = doctest.testmod(importlib.import_module(f"mofa_lib.{name}"))
    assert tried and not failed


@pytest.mark.parametrize("name", STARTED_WITH)
def test_the_names_that_readers_start_with_have_an_example(name):
    assert ">>> " in getattr(mofa_lib, name).__doc__
