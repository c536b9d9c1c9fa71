"""Every chapter runs alone, from an empty folder, in the profile `smoke`, prints what it always has
in its checked cells, and has the anatomy that readers rely on.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
import yaml
from checked_cells import (
    TAG,
    checked_cells,
    code_cells,
    differences,
    run_without_parameters,
    tags,
)
from jupyter_cache import get_cache
from jupyter_cache.cache.main import CacheBundleIn
from notebook_cache import cache_folder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from mofa_lib import RenderedFaces
from mofa_lib.faces import five_points

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
DISTRIBUTIONS = packages_distributions()  # of installed modules
ADDRESS = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))["repository"]["url"]

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@every_notebook
def test_runs_alone(path, tmp_path, monkeypatch, request):
    """And prints what is stored in its checked cells. After it, in the same kernel, its exercise
    with a checker: the stub as it stands, then the solution.
    """
    folder = tmp_path / "empty"
    folder.mkdir()
    out = {"out": str(tmp_path / "out")} if "out" in papermill.inspect_notebook(path) else {}
    # The environment variable also speaks to kernels that a chapter may start itself.
    monkeypatch.setenv("MOFA_PROFILE", "smoke")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += [
        nbformat.v4.new_code_cell(source) for source in unsolved_and_solved(notebook)
    ]
    nbformat.write(notebook, tmp_path / "with_exercise.ipynb")
    ran = papermill.execute_notebook(
        tmp_path / "with_exercise.ipynb",
        tmp_path / path.name,
        parameters={"profile": "smoke", **out},
        cwd=folder,
        progress_bar=False,
    )
    unsolved, solved = (printed(ran.cells.pop(k)).splitlines() for k in (-2, -1))
    # The cell that papermill adds says, in this profile, what the environment variable says.
    ran.cells = [cell for cell in ran.cells if "injected-parameters" not in tags(cell)]
    hand_to_the_book(path, ran)
    assert "widgets" not in ran.metadata, "a page has no kernel"
    changed = differences(path, ran, request.session)
    assert not changed, "\n\n".join(changed)
    written = [file.name for file in (tmp_path / "out").glob("*")]
    assert written == ["readings.json"] * (path.stem == "07_attack"), (
        "without `live` the others write nothing"
    )
    assert unsolved and "Right." not in unsolved, "a stub is not right, and its checker says so"
    assert "Right." in solved


def unsolved_and_solved(notebook) -> list[str]:
    """The block of the exercise with a stub, and the same with the solution's block in the place of
    the stub.
    """
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    exercises = re.findall(
        r"^:::\{exercise\}\n:label: (\S+)\n(.*?)^:::$", text, re.DOTALL | re.MULTILINE
    )
    solutions = dict(
        re.findall(r"^:::\{solution\} (\S+)\n(.*?)^:::$", text, re.DOTALL | re.MULTILINE)
    )
    found = [
        (label, code, stub)
        for label, body in exercises
        for code in blocks(body)
        for stub in stubs(code)
    ]
    assert len(found) == 1, (
        f"one exercise has a stub, `def …(…): ...`: {[label for label, *_ in found]}"
    )
    ((label, code, stub),) = found
    (solution,) = blocks(solutions[label])
    defined = [node.name for node in ast.parse(solution).body if isinstance(node, ast.FunctionDef)]
    assert stub.name in defined, f"the solution of {label} defines {stub.name}"
    lines = code.splitlines()
    lines[stub.lineno - 1 : stub.end_lineno] = solution.splitlines()
    return [code, "\n".join(lines)]


def blocks(markdown: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", markdown, re.DOTALL | re.MULTILINE)


def stubs(code: str) -> list[ast.FunctionDef]:
    """Functions whose body is `...`."""
    functions = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    return [function for function in functions if ast.unparse(function.body) == "..."]


def printed(cell) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def hand_to_the_book(path: Path, ran) -> None:
    """Put the run into the book's cache, so that a build in the profile `smoke` finds it."""
    notebook = nbformat.read(path, as_version=4)
    for cell, run in zip(code_cells(notebook), code_cells(ran), strict=True):
        assert cell.source == run.source
        cell.outputs, cell.execution_count = run.outputs, run.execution_count
    seconds = ran.metadata.papermill.duration
    bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": seconds})
    get_cache(cache_folder()).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def test_stored_outputs_do_not_hide_a_run_from_the_book(tmp_path):
    """Its cache finds a run by the code, and shows what that printed."""
    stored = nbformat.read(NOTEBOOKS[0], as_version=4)
    ran = nbformat.from_dict(stored)
    for cell in checked_cells(ran):
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="of the run\n")]
    cache = get_cache(tmp_path / "cache")
    bundle = CacheBundleIn(ran, str(NOTEBOOKS[0]))
    cache.cache_notebook_bundle(bundle, check_validity=False)
    _, shown = cache.merge_match_into_notebook(stored)
    assert {printed(cell) for cell in checked_cells(shown)} == {"of the run\n"}


def pretended_photographs(folder: Path) -> str:
    """A folder with three rendered faces and their five points."""
    folder.mkdir()
    faces = RenderedFaces("validation", 3, 5, 224, per_identity=1)
    lines = []
    for number, points in enumerate(five_points(faces.landmarks)):
        pixels = (255 * faces.batch(number)[0]).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(",".join([f"{number}.png", *map(str, points.flatten().tolist())]))
    (folder / "points.csv").write_text("\n".join(lines))
    return str(folder)


@pytest.mark.parametrize(
    ("name", "switch"),
    [
        ("06_mofa", "live"),
        pytest.param("06_mofa", "ablate", marks=pytest.mark.slow),
        ("10_attack_results", "live"),
        pytest.param("asked_from_outside", "live", marks=pytest.mark.slow),
        pytest.param("11_detection_results", "live", marks=pytest.mark.slow),
        ("12_defence_results", "live"),
        pytest.param("13_adaptive_attacks", "live", marks=pytest.mark.slow),
        pytest.param("more_attackers", "live", marks=pytest.mark.slow),
        ("smaller_claims", "live"),
        ("photographs", "live"),
    ],
)
def test_results_can_be_recomputed(name, switch, tmp_path):
    """The chapters behind the shipped result files compute them live, and write what the library
    reads.
    """
    given = {}
    if name == "photographs":
        given["photos"] = pretended_photographs(tmp_path / "photos")
    papermill.execute_notebook(
        ROOT / "book" / f"{name}.ipynb",
        tmp_path / "out.ipynb",
        parameters={"profile": "smoke", switch: True, "out": str(tmp_path / "results"), **given},
        cwd=tmp_path,
        progress_bar=False,
    )
    (written,) = (tmp_path / "results").glob("*.json")
    result = json.loads(written.read_text(encoding="utf8"))
    shipped = json.loads(
        (ROOT / "mofa_lib" / "shipped" / "results" / written.name).read_text(encoding="utf8")
    )
    assert result["profile"] == "smoke" and result["n"] <= shipped["n"]
    older = {"commit"} - set(shipped)  # a file of before 30 November 2026 names none
    assert [key for key in result if key not in older] == list(shipped)
    assert f"-p {switch} True" in result["command"]
    newer = {"no recogniser"} - set(shipped["data"])  # the first edition's ablation has no such row
    assert [key for key in result["data"] if key not in newer] == list(shipped["data"])


@every_notebook
def test_starts_with_a_title(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert re.search(r"^# \S", first.source, re.MULTILINE)


@every_notebook
def test_parameters_are_known_to_papermill(path):
    notebook = nbformat.read(path, as_version=4)
    assert sum("parameters" in tags(cell) for cell in notebook.cells) == 1
    known = papermill.inspect_notebook(path)
    assert {"profile", "seed"} <= set(known)
    unexplained = [name for name, parameter in known.items() if not parameter["help"]]
    assert not unexplained, "a comment behind each parameter says what it does"


@every_notebook
def test_what_a_chapter_begins_with_is_folded(path):
    """Set-up, parameters and imports are a line each, which says what is behind it."""
    cells = code_cells(nbformat.read(path, as_version=4))
    begins = next(number for number, cell in enumerate(cells) if "show.style()" in cell.source)
    folded = cells[: begins + 1]
    assert all("hide-input" in tags(cell) for cell in folded)
    labels = [cell.metadata.mystnb.code_prompt_show for cell in folded]
    assert labels == ["Set-up for Colab", "Parameters", "Imports"]


@every_notebook
def test_what_cells_say_is_plain_markdown(path):
    """In outputs neither MyST's roles nor formulas are typeset."""
    for cell in code_cells(nbformat.read(path, as_version=4)):
        for node in ast.walk(ast.parse(re.sub("^[%!].*$", "", cell.source, flags=re.MULTILINE))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"{(numref|ref|eq|cite)}`|\$[^$\n]+\$", node.value), (
                    cell.source
                )


@every_notebook
def test_three_cells_are_checked(path):
    """They print text, since nbval compares no pictures."""
    checked = checked_cells(nbformat.read(path, as_version=4))
    assert len(checked) >= 3
    for cell in checked:
        assert cell.outputs, f"no output is stored of:\n{cell.source}"
        for output in cell.outputs:
            kinds = set(output.get("data", [output.get("name")]))
            assert kinds <= {"stdout", "text/plain", "text/markdown"}, cell.source


@every_notebook
def test_checked_cells_need_no_parameter(path, request):
    """So they print the same in every profile, also in those whose weights are not at hand."""
    ran = run_without_parameters(nbformat.read(path, as_version=4))
    changed = differences(path, ran, request.session)
    assert not changed, "\n\n".join(changed)


def test_what_a_parameter_decides_is_missing():
    sources = {"parameters": "n = 3", "hide-input": "m = n + 1", TAG: "print(m)"}
    cells = [
        nbformat.v4.new_code_cell(source, metadata={"tags": [tag]})
        for tag, source in sources.items()
    ]
    with pytest.raises(NameError, match="'m' is not defined"):
        run_without_parameters(nbformat.v4.new_notebook(cells=cells))


@every_notebook
def test_another_stored_output_is_noticed(path, tmp_path, request):
    ran = nbformat.read(path, as_version=4)
    for number in range(len(checked_cells(ran))):
        other = nbformat.read(path, as_version=4)
        cell = checked_cells(other)[number]
        output = cell.outputs[-1]
        texts, key = (output.data, "text/markdown") if "data" in output else (output, "text")
        texts[key] += "1"
        nbformat.write(other, tmp_path / path.name)
        (said,) = differences(tmp_path / path.name, ran, request.session)
        assert said.startswith(cell.source)


@every_notebook
def test_is_stripped(path):
    notebook = nbformat.read(path, as_version=4)
    checked = checked_cells(notebook)
    assert not [
        cell.source for cell in code_cells(notebook) if cell.outputs and cell not in checked
    ]
    assert path.stat().st_size <= 112 * 1024
    assert "widgets" not in notebook.metadata


def test_strip_keeps_what_is_checked(tmp_path):
    """What a run leaves in a notebook is taken out of it again, but for the checked outputs."""
    (tmp_path / "_ext").mkdir()
    strip = shutil.copy(ROOT / "book" / "_ext" / "strip.py", tmp_path / "_ext")
    ran = nbformat.read(NOTEBOOKS[0], as_version=4)
    for count, cell in enumerate(code_cells(ran), 1):
        cell.execution_count = count
        cell.metadata["execution"] = {"iopub.execute_input": "2026-11-29T06:00:00Z"}
        if cell not in checked_cells(ran):
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="Hello\n")]
    ran.metadata.language_info = {"name": "python", "version": "3.11.7"}
    nbformat.write(ran, tmp_path / NOTEBOOKS[0].name)
    subprocess.run([sys.executable, strip], check=True)
    assert (tmp_path / NOTEBOOKS[0].name).read_bytes() == NOTEBOOKS[0].read_bytes()


@every_notebook
def test_nothing_is_left_to_do(path):
    text = path.read_text(encoding="utf8")
    assert not re.search(r"\b(TODO|FIXME|XXX|TBD)\b", text)
    assert not re.search(r"/(work|root|home|tmp)/", text), "a path of somebody's machine"


@every_notebook
def test_figures_speak(path):
    """A figure's caption and its alternative text live in the metadata of the cell, and labels are
    unique.
    """
    labels = []
    for cell in nbformat.read(path, as_version=4).cells:
        assert "ax.set_title(" not in cell.source
        shown = cell.metadata.get("mystnb", {})
        if "figure" in shown:
            assert shown["figure"].get("caption")
            said = (
                shown.get("image", {}).get("alt") or "show.flipbook(" in cell.source
            )  # its pages bring their own
            assert said, shown["figure"]
            labels.append(shown["figure"].get("name"))
    assert len(labels) == len(set(labels))


@every_notebook
def test_names_the_repository_once_and_rightly(path):
    cells = [
        cell for cell in nbformat.read(path, as_version=4).cells if "google.colab" in cell.source
    ]
    for cell in cells:
        for address in re.findall(r"https://github\.com/[\w./-]+", cell.source):
            assert address.removesuffix(".git").rstrip("/") == ADDRESS


@every_notebook
def test_colab_installs_what_is_imported(path, monkeypatch):
    """The first cell, run alone as Colab runs it, asks pip for the library and for all that it does
    not bring.
    """
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    commands = []
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(system=commands.append))
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    for address in (ADDRESS, "https://github.com/me/my-copy"):
        if address != ADDRESS:
            monkeypatch.setenv("MOFA_REPOSITORY", address)
        exec(cells[0].source, vars(shell).copy())
        _, pip, what, repository, more = re.split(
            r"^(pip install --quiet) '?((?:mofa_lib\[[\w,]+\] @ )?)git\+([^' ]+)'?", commands.pop()
        )
        assert pip and repository == address
    extras = re.findall(r"\w+", what)[1:]
    library = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    lines = [*library["dependencies"], *more.split()]
    lines += [line for extra in extras for line in library["optional-dependencies"][extra]]
    brought = {"mofa-lib", "ipython"} | {
        canonicalize_name(Requirement(line).name) for line in lines
    }
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    imported = {
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    for module in {name.partition(".")[0] for name in imported} - sys.stdlib_module_names:
        assert brought & {canonicalize_name(name) for name in DISTRIBUTIONS[module]}, module


@every_notebook
def test_what_is_left_of_a_distance_is_a_share_of_one_as_precise(path):
    """A course is the search's, which may be in bfloat16; the distances are judged without."""
    assert ".course[0]" not in path.read_text(encoding="utf8")


def test_every_notebook_is_in_the_book():
    chapters = {file for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
                for file in (chapter["file"] for chapter in part["chapters"])}  # fmt: skip
    assert {f"book/{path.stem}" for path in NOTEBOOKS} <= chapters


def test_json_is_tidy():
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text(encoding="utf8"))
        assert notebook["nbformat"] == 4
        assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert os.environ.get("MOFA_PROFILE", "smoke") in {"smoke", "cpu", "gpu", "paper"}
