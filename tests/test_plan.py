"""The plan of the library: who may import whom. It is read from the imports, lazy ones included.

An import runs down the plan, never up and never sideways. So there is no circle.
"""

import grimp
import pytest

GRAPH = grimp.build_graph("mofa_lib", cache_dir=None)

# From the top: what is run or shown, the experiments' parts, autoencoder, model, the ground.
PLAN = (
    {"adapters", "show", "sweep", "training", "web"},
    {"detector"},
    {"identity", "linear_autoencoder", "parts", "refinement"},
    {
        "attack", "autoencoder", "defence", "export", "face_data", "likeness", "losses",
        "metrics", "notebooks", "null_models", "photographs", "results",
    },
    {"alignment", "judges", "renderer", "studio", "weights"},
    {"face_code", "model_files"},
    {"borrowed_skin", "subdivision"},
    {"ict_facekit", "licensed_models", "morphable", "open_models", "workers"},
    {
        "artifacts", "backbones", "camera", "displays", "evidence", "faces", "flame_pickle",
        "lighting", "mesh", "model_arrays", "photo_files", "processes", "procrustes", "profiles",
        "raster", "surfaces",
    },
    {"inputs"},
)  # fmt: skip
WINGS = {
    "attack": (
        {"adaptive", "check"},
        {"latent", "trial"},
        {"apgd", "queries", "report", "result", "targets", "universal"},
        {"best", "distance", "gradient_sign", "layers", "precision"},
    ),
    "judges": ({"build"}, {"judge"}, {"networks"}),
    "show": (
        {"attack_panels", "explorer"},
        {"flipbooks", "live", "pictures", "predictions", "viewer"},
        {"still"},
    ),
    "studio": (
        {"build", "learn", "session"},
        {"cache", "photographer", "recipe"},
        {"casting"},
        {"darkroom", "hair"},
        {"fur", "scene", "skin", "wardrobe"},
        {"eyes", "garments", "light", "strands"},
        {"features", "noise"},
        {"atlas"},
        {"heads", "looks"},
        {"phenotype"},
    ),
    "studio.build": ({"__main__"}, {"heads", "looks"}, {"mesh"}),
    "training": (
        {"__main__"},
        {"command"},
        {"loop"},
        {"tasks"},
        {"objectives"},
        {"batches", "recognition"},
    ),
    "web": ({"__main__"}, {"lab"}, {"graphs"}, {"knowing"}, {"steps"}),
}
# What the studio may know of the library. Not the face model, nor the renderer: what the
# autoencoder learns to explain is made in another way than it explains it.
KNOWN_TO_THE_STUDIO = {
    "artifacts",
    "camera",
    "faces",
    "lighting",
    "mesh",
    "processes",
    "procrustes",
    "raster",
}


def imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """All direct imports, importer and imported, without the library's own name."""
    return sorted(
        (importer.removeprefix("mofa_lib").strip("."), imported.removeprefix("mofa_lib").strip("."))
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    )


def upward(graph: grimp.ImportGraph, plan: tuple[set[str], ...], wing: str = "") -> list[str]:
    """The imports that do not run down a plan, in words; `wing` is the package whose plan it is."""
    floor = {name: level for level, names in enumerate(plan) for name in names}

    def room(module: str) -> str | None:
        inside = module.removeprefix(f"{wing}.") if wing else module
        is_inside = not wing or module.startswith(f"{wing}.")
        return inside.partition(".")[0] if is_inside and inside else None

    wrong = []
    for importer, imported in imports(graph):
        a, b = room(importer), room(imported)
        if a and b and a != b and floor[a] >= floor[b]:
            wrong.append(
                f"mofa_lib.{importer} imports mofa_lib.{imported}, which does not lie below"
            )
    return wrong


def children(package: str) -> set[str]:
    return {name.rpartition(".")[2] for name in GRAPH.find_children(package)}


def test_every_module_has_its_place_in_the_plan():
    assert set().union(*PLAN) == children("mofa_lib")
    for wing, plan in WINGS.items():
        assert set().union(*plan) == children(f"mofa_lib.{wing}")
    packages = {name for name in GRAPH.modules if GRAPH.find_children(name)}
    assert packages == {"mofa_lib", *(f"mofa_lib.{wing}" for wing in WINGS)}


@pytest.mark.parametrize("wing", ["", *WINGS])
def test_imports_run_down(wing):
    assert upward(GRAPH, WINGS[wing] if wing else PLAN, wing) == []


def test_the_studio_knows_neither_face_model_nor_renderer():
    for importer, imported in imports(GRAPH):
        preparing = importer.startswith(("studio.build", "studio.learn"))
        drawing = importer.partition(".")[0] == "studio" and not preparing
        if drawing and imported.partition(".")[0] != "studio":
            assert imported in KNOWN_TO_THE_STUDIO, f"mofa_lib.{importer} imports {imported}"


def test_nothing_but_its_own_wing_imports_training():
    outside = [pair for pair in imports(GRAPH) if pair[1].partition(".")[0] == "training"]
    assert [pair for pair in outside if pair[0].partition(".")[0] != "training"] == []


def test_model_files_need_no_renderer():
    reached = GRAPH.find_upstream_modules("mofa_lib.model_files")
    assert not reached & {"mofa_lib.renderer", "mofa_lib.raster", "mofa_lib.camera"}


def test_an_import_that_runs_up_is_named():
    """Also a lazy one: the graph sees it wherever it stands."""
    graph = grimp.build_graph("mofa_lib", cache_dir=None)
    graph.add_import(importer="mofa_lib.camera", imported="mofa_lib.training.loop")
    (said,) = upward(graph, PLAN)
    assert said.startswith("mofa_lib.camera imports mofa_lib.training.loop")
    graph = grimp.build_graph("mofa_lib", cache_dir=None)
    graph.add_import(importer="mofa_lib.studio.heads", imported="mofa_lib.studio.skin")
    assert upward(graph, PLAN) == [] and len(upward(graph, WINGS["studio"], "studio")) == 1
