"""What a notebook shows of a face code, a rendering or the result of an attack at the end of a cell.

HTML with tables and PNG pictures in it; nothing of it needs matplotlib. The classes call these functions themselves.
"""

import base64
import io

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.attack import Attacked, quantize
from mofa_lib.face_code import GROUPS, SYMBOLS, FaceCode
from mofa_lib.renderer import Rendering

SHOWN = 6  # pictures of a strip
SIDE, GAP = 112, 4  # the height of a picture at most, and what is between two of them, pixels
UNITS = {"shape": "σ", "expression": "σ", "appearance": "σ", "rotation": "rad", "translation": "mm", "illumination": ""}


def of_code(code: FaceCode) -> str:
    """The groups of a code: symbol, shape, and Euclidean norm, as a mean over the faces and its range."""
    rows = [
        f'<tr><th scope="row">{group}</th><td>{SYMBOLS[group]}</td><td>{tuple(getattr(code, group).shape)}</td>'
        f"<td>{_norms(getattr(code, group))} {UNITS[group]}</td></tr>"
        for group in GROUPS
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in ("group", "symbol", "shape", "norm"))
    return _table(f"FaceCode: {_count(len(code), 'face')}", f"<thead><tr>{head}</tr></thead>", rows)


def of_rendering(rendering: Rendering) -> str:
    """The first faces, clamped to [0, 1], transparent where there is no face."""
    images = torch.cat([rendering.image, rendering.mask], 1)
    size = " × ".join(map(str, images.shape[2:]))
    caption = f"Rendering: {_count(len(images), 'face')}, {size} pixels"
    return _table(caption, "", _strips({"rendered": images}))


def of_attack(result: Attacked) -> str:
    """The first pictures before and after, what was added, and how far that has led."""
    change = result.perturbation.detach().float()
    count = len(change)
    linf = float(change.abs().max()) if count else 0.0
    times = round(1 / max(linf, 1 / 255))
    before = result.images - result.perturbation
    pictures = {"original": before, "adversarial": result.images, f"|δ| × {times}": times * change.abs()}
    caption = f"Attacked: {_count(count, 'picture')}"
    if count:
        saved = float((quantize(result.images) - before).detach().abs().max())
        first, last = (float(values.detach().float().mean()) for values in (result.course[0], result.course[-1]))
        left = float(result.saved_distance.detach().float().mean())
        caption += (
            f", L∞ {255 * linf:.3g}/255, saved {255 * saved:.3g}/255; mean loss {first:.3g} → {last:.3g}"
            f" in {_count(len(result.course) - 1, 'step')}; mean distance once saved {left:.3g}"
        )
    return _table(caption, "", _strips(pictures))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _table(caption: str, head: str, rows: list[str]) -> str:
    return f"<table><caption>{caption}</caption>{head}<tbody>{''.join(rows)}</tbody></table>"


def _norms(part: Float[Tensor, "B _"]) -> str:
    """Of the faces' vectors: mean, and smallest to largest where there are several."""
    norms = part.detach().cpu().float().norm(dim=1)
    if not len(norms):
        return "–"
    return f"{norms.mean():.3g}" + f" ({norms.min():.3g}–{norms.max():.3g})" * (len(norms) > 1)


def _strips(pictures: dict[str, Float[Tensor, "B C H W"]]) -> list[str]:
    """A row for each batch: its name, and the first pictures side by side; none for an empty batch."""
    rows = []
    for name, batch in pictures.items():
        if len(batch):
            alt = f"{name}: {min(len(batch), SHOWN)} of {_count(len(batch), 'picture')} side by side"
            image = f'<img alt="{alt}" src="data:image/png;base64,{_strip(batch[:SHOWN])}">'
            rows.append(f'<tr><th scope="row">{name}</th><td>{image}</td></tr>')
    return rows


def _strip(images: Float[Tensor, "B C H W"]) -> str:
    """Pictures of RGB, or RGB and opacity, as one PNG in base64: large ones shrunk, small ones with visible pixels."""
    images = images.detach().cpu().float().nan_to_num().clamp(0, 1)
    if images.shape[2] > SIDE:
        images = F.interpolate(images, (SIDE, round(images.shape[3] * SIDE / images.shape[2])), mode="area")
    times = SIDE // images.shape[2]
    images = images.repeat_interleave(times, 2).repeat_interleave(times, 3)
    opaque = torch.ones_like(images[:, :1])
    images = F.pad(torch.cat([images, opaque], 1)[:, :4], (0, GAP))
    pixels = (255 * images).round().to(torch.uint8).permute(2, 0, 3, 1).flatten(1, 2)
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
