"""The settings with which the book is built without Jupyter Book."""

from pathlib import Path

import pytest
import yaml

from tests import future


@pytest.fixture(scope="module")
def settings() -> dict:
    """As Sphinx reads them."""
    found = {}
    exec(future.conf(), found)
    return found


def test_all_extensions_but_jupyter_book_s_are_kept_in_their_order(settings):
    own = yaml.safe_load((future.ROOT / "_config.yml").read_text("utf8"))["sphinx"]["config"]
    assert settings["extensions"] == [name for name in own["extensions"] if name != "jupyter_book"]
    assert not [name for name in settings if "jupyterbook" in name]


def test_the_settings_are_those_of_the_book(settings):
    own = yaml.safe_load((future.ROOT / "_config.yml").read_text("utf8"))
    assert settings["html_title"] == own["title"] and settings["numfig"]
    assert settings["nb_execution_mode"] == own["execute"]["execute_notebooks"]
    assert settings["html_js_files"] == own["sphinx"]["config"]["html_js_files"]
    theme = settings["html_theme_options"]
    assert theme["repository_url"] == own["repository"]["url"] and "extra_footer" in theme


def test_its_paths_are_there_from_anywhere(settings):
    paths = [settings[name] for name in ("external_toc_path", "html_logo", "html_favicon")]
    for path in map(Path, [*paths, *settings["html_static_path"], *settings["bibtex_bibfiles"]]):
        assert path.is_absolute() and path.exists()
