"""Each sentence of the book with a strong word is in `strong_words.toml`, with what bears it out.

`python tests/test_strong_words.py` prints the lines that are missing.
"""

import ast
import json
import re
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "strong_words.toml"
STRONG = re.compile(r"\b(reproduced|before the numbers|every claim|never|all)\b", re.IGNORECASE)
# Idioms that claim nothing about all.
IDIOMS = re.compile(
    r"\b((at|after|above|(first|most) of) all|all (day|the same|the more))\b", re.IGNORECASE
)


def sentences() -> list[tuple[str, str]]:
    """Page and sentence, blanks made single, wherever a strong word stands."""
    found = []
    for path in [*sorted((ROOT / "book").glob("*.*")), ROOT / "README.md"]:
        if path.suffix not in (".ipynb", ".md"):
            continue
        texts = [path.read_text(encoding="utf8")] if path.suffix == ".md" else list(_texts(path))
        for text in texts:
            plain = re.sub(
                r"^(`{3,}).*?^\1`*$|<script.*?</script>", "", text, flags=re.DOTALL | re.MULTILINE
            )
            for part in re.split(r"(?<=[.!?])[*\"”)]*\s+|\n\s*\n|\n\s*(?=[-|:#])", plain):
                sentence = " ".join(part.split())
                if STRONG.search(IDIOMS.sub("", sentence)):
                    found.append((path.stem, sentence))
    return found


def _texts(path: Path):
    """What a notebook says: its Markdown, its captions, and the sentences that its cells print."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            yield cell.source
            continue
        shown = cell.metadata.get("mystnb", {})
        yield shown.get("figure", {}).get("caption", "")
        yield shown.get("image", {}).get("alt", "")
        for node in ast.walk(ast.parse(cell.source)):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and len(node.value.split()) > 3
            ):
                yield node.value


def listed() -> list[tuple[str, str]]:
    reasons = tomllib.loads(LIST.read_text(encoding="utf8"))
    return [
        (page, part)
        for pages in reasons.values()
        for page, parts in pages.items()
        for part in parts
    ]


def missing() -> list[str]:
    """A line for each sentence that is not listed, to go under a reason of the list."""
    parts = listed()
    lines = []
    for page, sentence in sentences():
        if not any(page == there and part in sentence for there, part in parts):
            word = STRONG.search(IDIOMS.sub(lambda idiom: "_" * len(idiom[0]), sentence))
            start, end = max(0, word.start() - 30), word.end() + 30
            part = sentence[start:end]
            part = part[part.find(" ") + 1 :] if start else part
            part = part.rpartition(" ")[0] if end < len(sentence) else part
            lines.append(f"{page} = [{json.dumps(part, ensure_ascii=False)}]")
    return lines


def test_every_strong_sentence_is_borne_out():
    lines = missing()
    assert not lines, "enter under a reason of tests/strong_words.toml, or say less:\n" + "\n".join(
        lines
    )


def test_the_list_has_nothing_that_the_book_no_longer_says():
    said = sentences()
    gone = [
        x for x in listed() if not any(page == x[0] and x[1] in sentence for page, sentence in said)
    ]
    assert not gone, "take out of tests/strong_words.toml"


if __name__ == "__main__":
    print("\n".join(missing()))
