"""The reference is complete, its signatures read well, and docstrings and chapters link to each
other.
"""

import importlib
import inspect
import re
from pathlib import Path

import docstrings
import library_pages
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = docstrings.read_library()
ENTRIES = [entry for module in LIBRARY.values() for entry in module.walk()]
PAGES = {
    path.stem: path.read_text(encoding="utf8") for path in (ROOT / "book" / "library").glob("*.md")
}
SHOWN = " ".join(re.findall(r"```\{library\} (.+)", "\n".join(PAGES.values()))).split()


def test_every_module_is_on_one_page():
    assert sorted(SHOWN) == sorted(LIBRARY)


@pytest.mark.parametrize("name", LIBRARY)
def test_every_public_name_of_a_module_is_shown(name):
    module = importlib.import_module(f"mofa_lib.{name}")
    defined = {
        key
        for key, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isroutine(value) or hasattr(value, "__wrapped__"))
        and getattr(value, "__module__", None) == module.__name__
        and not key.startswith("_")
    }
    assert defined == {member.short for member in LIBRARY[name].members}


def test_the_package_s_own_names_are_entries():
    import mofa_lib

    exported = docstrings.exported()
    assert set(exported) == set(mofa_lib.__all__)
    aliases = library_pages.aliases()  # a package gives away what its modules define
    assert {aliases.get(full, full) for full in exported.values()} <= set(library_pages.names())


@pytest.mark.parametrize(
    "entry",
    LIBRARY["attack.latent"].members + LIBRARY["raster"].members,
    ids=lambda entry: entry.short,
)
def test_every_argument_that_is_explained_exists(entry):
    said = docstrings.sections(entry.doc)
    named = {
        name.strip()
        for names in docstrings.items(said.get("Args", ""))
        for name in names.split(",")
    }
    assert named <= {parameter.partition(":")[0] for parameter in entry.parameters}


@pytest.mark.parametrize(
    ("annotated", "shown"),
    [
        ('Float[Tensor, "B 3 H W"]', "(B, 3, H, W)"),
        ('Float[Tensor, " B"]', "(B,)"),
        ('Int[Tensor, "F 3"] | None', "int (F, 3) | None"),
        ('Bool[np.ndarray, "..."]', "bool array (...,)"),
        ('dict[str, Float[Tensor, "B _"]]', "dict[str, (B, _)]"),
        ('"FaceCode"', "FaceCode"),
    ],
)
def test_a_shape_reads_as_a_shape(annotated, shown, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text(f"def f(x: {annotated}, *, _y=1) -> {annotated}: ...\n")
    (function,) = docstrings.read_library(package)["module"].members
    assert function.parameters == [f"x: {shown}", "*", "_y = 1"]
    assert function.returns == shown


def test_a_line_may_end_between_the_word_and_the_number():
    doc = "Derived in\nchapter\n8\nand 10."
    entry = docstrings.Entry("function", "mofa_lib.attack.f", doc)
    assert docstrings.derived_in(entry) == {8, 10}
    linked = library_pages.to_myst(doc, entry, LIBRARY["attack"])
    assert linked.count("{ref}`") == 2


def test_an_example_is_a_part_of_its_own():
    doc = "Adds.\n\nReturns:\n    The sum.\nSource: the book; chapter 2.\n\n>>> add(1, 2)\n3"
    said = {"": "Adds.", "Returns": "The sum.", "Source": "the book; chapter 2."}
    assert docstrings.sections(doc) == said | {"Example": ">>> add(1, 2)\n3"}
    assert docstrings.sections("Adds.\n\n>>> a\n\nMore.") == {
        "": "Adds.\n\n\n\nMore.",
        "Example": ">>> a",
    }


@pytest.fixture
def nested(tmp_path):
    """A library with a package that has modules of its own, and one that gives names away."""
    files = {
        "plain.py": "def f(): ...\n",
        "_hidden.py": "def f(): ...\n",
        "wing/__init__.py": "from lib.wing.deep.core import g\nfrom pathlib import Path\n",
        "wing/__main__.py": "def main(): ...\n",
        "wing/room.py": 'class C:\n    """See `wing.g`, `g_h` and `plain.f`."""\n',
        "wing/deep/__init__.py": '"""Only words."""\nfrom pathlib import Path\n',
        "wing/deep/core.py": "def g(): ...\ndef g_h(): ...\n",
        "own/__init__.py": "def h(): ...\n",
        "_private/module.py": "def f(): ...\n",
    }
    for name, text in files.items():
        path = tmp_path / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return docstrings.read_library(tmp_path / "lib")


def test_packages_are_read_with_all_that_is_public_in_them(nested):
    assert sorted(nested) == ["own", "plain", "wing", "wing.deep.core", "wing.room"]
    assert [module.name for module in nested.values() if module.name != f"lib.{module.short}"] == []
    assert [entry.name for entry in nested["own"].members] == ["lib.own.h"]
    assert nested["wing"].given == {"g": "lib.wing.deep.core.g"} and not nested["wing"].members


def test_an_entry_is_found_by_the_name_under_which_a_package_gives_it_away(nested, monkeypatch):
    monkeypatch.setattr(library_pages, "library", lambda: nested)
    caches = (library_pages.names, library_pages.aliases)
    for cached in caches:
        cached.cache_clear()
    try:
        said = library_pages.to_myst(nested["wing.room"].members[0].doc, *2 * [nested["wing.room"]])
    finally:
        for cached in caches:
            cached.cache_clear()
    full = ["lib.wing.deep.core.g", "lib.wing.deep.core.g_h", "lib.plain.f"]
    assert re.findall(r"<([\w.]+)>", said) == full


@pytest.mark.parametrize("name", LIBRARY)
def test_every_module_is_read_from_its_file(name):
    assert docstrings.path_of(name) == Path(importlib.import_module(f"mofa_lib.{name}").__file__)


def test_no_annotation_is_left_as_jaxtyping_writes_it():
    texts = [text for entry in ENTRIES for text in [*(entry.parameters or []), entry.returns]]
    assert not [text for text in texts if re.search(r"""\[(Tensor|np\.ndarray), ['"]""", text)]


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if "hapter" in e.doc], ids=lambda entry: entry.name
)
def test_every_chapter_in_a_docstring_is_one(entry):
    mentions = re.findall(docstrings.CHAPTERS, entry.doc)
    assert len(mentions) == len(re.findall(r"hapters?\s\d", entry.doc))
    for mention in mentions:
        assert set(docstrings.numbers(mention)) <= set(library_pages.labels())
    linked = library_pages.link_chapters(entry.doc)
    assert linked.count("{ref}`") == sum(len(re.findall(r"\d+", mention)) for mention in mentions)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "book").glob("[0-9]*.ipynb")), ids=lambda path: path.stem
)
def test_every_chapter_names_its_part_of_the_library(path):
    """Or says why it has none, as the introduction does."""
    first = nbformat.read(path, as_version=4).cells[0].source
    assert library_pages.named_in(int(path.name[:2])) or "derived later" in first


def test_what_is_private_stays_out():
    assert not [
        entry.name
        for entry in ENTRIES
        if entry.short.startswith("_") and entry.short not in docstrings.CALLED
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The reference, and a page with a title and a box in the place of each chapter; every warning
    is an error.
    """
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    source = tmp_path_factory.mktemp("site")
    for number, label in library_pages.labels().items():
        text = (
            f"({label})=\n# Chapter\n\n:::{{admonition}} In this chapter\n:class: tip\nText.\n:::\n"
        )
        (source / f"{number:02}_chapter.md").write_text(text)
    for name, text in PAGES.items():
        if name != "index":
            (source / f"{name}.md").write_text(text, encoding="utf8")
    (source / "index.md").write_text(
        "# All\n\n```{library-names}\n```\n\n```{toctree}\n:glob:\n*\n```\n"
    )
    settings = {
        "extensions": ["myst_parser", "library_pages"],
        "myst_enable_extensions": ["colon_fence"],
    }
    with patch_docutils(str(source)), docutils_namespace():
        app = Sphinx(
            source, None, source / "html", source / "trees", "html",
            confoverrides=settings | {"nitpicky": True}, warningiserror=True, status=None,
        )  # fmt: skip
        app.build()
    assert app.statuscode == 0
    return source / "html"


def test_entries_link_to_chapters_and_chapters_to_entries(site):
    attack = (site / "attack.html").read_text(encoding="utf8")
    assert (
        'id="mofa_lib.attack.latent.LatentAttack"' in attack
        and 'id="module-mofa_lib.attack"' in attack
    )
    assert (
        'href="07_chapter.html#ch-attack"' in attack
        and 'href="02_chapter.html#ch-background"' in attack
    )
    assert (
        'href="models.html#mofa_lib.morphable.MorphableModel"' in attack
    )  # a class in a signature
    assert 'href="#mofa_lib.attack.gradient_sign.pgd"' in attack  # a name in a docstring
    chapter = (site / "07_chapter.html").read_text(encoding="utf8")
    assert (
        "In the library" in chapter
        and 'href="attack.html#mofa_lib.attack.latent.LatentAttack"' in chapter
    )
    assert "In the library" not in (site / "01_chapter.html").read_text(encoding="utf8")
    assert 'href="autoencoder.html#mofa_lib.profiles.profile"' in (site / "index.html").read_text(
        encoding="utf8"
    )


def test_the_text_of_a_docstring_survives(site):
    people, models = (
        (site / f"{name}.html").read_text(encoding="utf8") for name in ("people", "models")
    )
    tools = (site / "tools.html").read_text(encoding="utf8")
    assert "mofa_cpu_&lt;digits&gt;-1of1" in tools  # no tag of HTML
    assert "<table" in models and "python -m mofa_lib.studio.build" in re.sub(
        r"<[^>]+>", "", models
    )
    assert "Float[" not in people and "{ref}" not in people + models + tools
