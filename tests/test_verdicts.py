"""The page of verdicts shows what the result files hold, and these what the chapters' rules say.

Not tested is whether the paper claims more: it does, and the page names what is missing.
"""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rejudge
import verdicts

from mofa_lib.artifacts import load_result, load_weights
from mofa_lib.profiles import profile

PAGE = (Path(__file__).parents[1] / "book" / "reproduction.md").read_text(encoding="utf8")
WORDS = {
    "reproduced",
    "reproduced as printed, but meaningless",
    "direction only",
    "contradicted",
    "untestable here",
}


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
            tmp_path, None, tmp_path / "out", tmp_path / "trees", "xml",
            confoverrides=settings, warningiserror=True, status=None,
        ).build()  # fmt: skip
    page = re.sub(r"\s+", " ", (tmp_path / "out" / "index.xml").read_text(encoding="utf8"))
    words = Counter(row["verdict"] for name in verdicts.JUDGED for row in verdicts.rows(name))
    assert f"{words.total()} verdicts:" in page
    assert {word: page.count(f"<strong>{word}</strong>") for word in WORDS} == {
        word: words[word] for word in WORDS
    }
    assert all(load_result(name)["command"] in page for name in verdicts.JUDGED)


def test_the_page_explains_every_word():
    top = PAGE.partition("{verdicts} attack")[0]
    assert WORDS == set(re.findall(r"^\| ([a-z ,]+) \| [^|]+ \|$", top, re.MULTILINE)) - {"word"}


@pytest.mark.parametrize("name", verdicts.JUDGED)
def test_what_a_file_concludes_follows_from_its_measurements(name):
    stored, again = load_result(name)["data"], rejudge.rejudged(name)
    assert again["verdicts"] == stored["verdicts"]
    for found, kept in zip(
        _numbers(again.get("summary")), _numbers(stored.get("summary")), strict=True
    ):
        assert found == pytest.approx(kept, abs=2e-4)


def _numbers(part) -> list[float]:
    if isinstance(part, dict | list):
        return [
            x
            for value in (part.values() if isinstance(part, dict) else part)
            for x in _numbers(value)
        ]
    return [part] if isinstance(part, float) else []


def test_an_estimate_lies_in_its_interval():
    """Of every statistic, condition and score: AUROCs that compared twins once lay outside."""
    lines = load_result("detection")["data"]["summary"]
    triples = {
        (x["condition"], x["score"], key): x[key]
        for x in lines
        for key in x
        if isinstance(x[key], list)
    }
    assert len(triples) > 1000
    assert not {name: t for name, t in triples.items() if not t[1] <= t[0] <= t[2]}


@pytest.mark.parametrize("score", ["l2", "js"])
def test_aurocs_compare_different_people(score):
    """Chapter 11's statistic against a loop over pairs, also where people weigh unequally."""
    chapter, data = rejudge.rules("detection"), load_result("detection")["data"]
    clean, hit = (
        chapter.unpacked(data["scores"][c][score]) for c in ("clean", "unit_cap 8 bit 0.005")
    )
    people = chapter.unpacked(data["people"])
    weights = chapter.draws_of_people(people, 3)
    wins, compared = np.zeros(len(weights)), np.zeros(len(weights))
    for i, who in enumerate(people):
        for j, other in enumerate(people):
            if who != other:
                wins += (
                    weights[:, i]
                    * weights[:, j]
                    * ((hit[i] > clean[j]) + 0.5 * (hit[i] == clean[j]))
                )
                compared += weights[:, i] * weights[:, j]
    np.testing.assert_allclose(chapter.auroc(clean, hit, weights, people), wins / compared)
    (line,) = (
        x
        for x in data["summary"]
        if (x["condition"], x["score"]) == ("unit_cap 8 bit 0.005", score)
    )
    assert line["auroc"][0] == pytest.approx(wins[0] / compared[0], abs=1e-4)


def test_a_draw_of_one_person_has_no_auroc_and_spoils_no_interval():
    chapter = rejudge.rules("detection")
    people = np.array([0, 0, 1, 1])
    weights = np.array([[1, 1, 1, 1], [2, 2, 0, 0], [1, 1, 1, 1], [0, 0, 2, 2]])
    found = chapter.auroc(np.array([0.0, 1, 2, 3]), np.array([2.0, 3, 4, 5]), weights, people)
    np.testing.assert_array_equal(found, [0.75, np.nan, 0.75, np.nan])
    assert chapter.interval(found) == [0.75, 0.75, 0.75]


def test_each_autoencoder_has_its_own_rows():
    for name in ("detection", "defence"):
        rows = [row for row in verdicts.rows(name) if re.search("JS|norms|reforming", row["claim"])]
        assert all(
            row["claim"].endswith(("linear autoencoder", "Table 1's network")) for row in rows
        )
        network = [row for row in rows if row["claim"].endswith("Table 1's network")]
        assert network and {row["verdict"] for row in network} == {"untestable here"}


def test_the_page_counts_claims_and_pictures_rightly():
    claims = {
        row["claim"].split(", ")[0]
        for name in ("attack", "detection")
        for row in verdicts.rows(name)
    }
    claims |= {re.sub(r"noise 0.\d+|, .*", "", row["claim"]) for row in verdicts.rows("defence")}
    assert len(claims) == 13 and "turn thirteen of them into rules" in PAGE
    seen, about = 0, load_weights("detector", "cpu")[1]
    while about:
        seen += about["steps"] * profile("cpu").detector_batch
        about = about.get("further_than")
    assert f"shown {seen // 1000} 000 pictures" in PAGE
