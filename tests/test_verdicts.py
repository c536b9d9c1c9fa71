"""The page of verdicts says what the result files say, and there is a verdict on every claim."""

import re
from collections import Counter

import pytest
import verdicts

from mofa_lib.artifacts import load_result

WORDS = {"reproduced", "direction only", "contradicted", "untestable here"}


@pytest.mark.parametrize("name", verdicts.JUDGED)
def test_every_verdict_has_all_that_a_reader_needs(name):
    for row in verdicts.rows(name):
        assert list(row) == ["claim", "paper", "ours", "verdict"] and all(row.values())
        assert row["verdict"] in WORDS and "|" not in "".join(row.values())


def test_the_page_shows_all_of_them(tmp_path):
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    text = "# All\n\n```{verdict-count}\n```\n\n" + "".join(
        f"```{{verdicts}} {x}\n```\n\n" for x in verdicts.JUDGED
    )
    (tmp_path / "index.md").write_text(text, encoding="utf8")
    settings = {"extensions": ["myst_parser", "verdicts"]}
    with patch_docutils(str(tmp_path)), docutils_namespace():
        Sphinx(
            tmp_path, None, tmp_path / "out", tmp_path / "trees", "text",
            confoverrides=settings, warningiserror=True, status=None,
        ).build()  # fmt: skip
    page = re.sub(r"\s+", " ", (tmp_path / "out" / "index.txt").read_text(encoding="utf8"))
    words = Counter(row["verdict"] for name in verdicts.JUDGED for row in verdicts.rows(name))
    assert f"{words.total()} verdicts:" in page
    assert {word: page.count(f"**{word}**") for word in WORDS} == {
        word: words[word] for word in WORDS
    }
    assert all(load_result(name)["command"] in page for name in verdicts.JUDGED)
