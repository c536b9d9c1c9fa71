"""What a notebook shows at the end of a cell: a table of texts, and strips of pictures, as HTML.

Nothing of it needs matplotlib. Nothing here knows the classes that are shown: each builds its own.
"""

import base64
import io
from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

SHOWN = 6  # pictures of a strip
SIDE = 112  # the largest height of a picture, pixels
GAP = 4  # between two pictures, pixels


def html_table(caption: str, rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> str:
    """A table whose rows begin with their names.

    Args:
        caption: above the table.
        rows: cells, as HTML; the first of each row is its heading.
        heads: of the columns.
    """
    columns = "".join(f'<th scope="col">{name}</th>' for name in heads)
    top = f"<thead><tr>{columns}</tr></thead>" if heads else ""
    body = ""
    for first, *others in rows:
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    return f"<table><caption>{caption}</caption>{top}<tbody>{body}</tbody></table>"


def strips(pictures: dict[str, Float[Tensor, "B C H W"]]) -> list[list[str]]:
    """A row of `html_table` for each batch: its name, and the first pictures side by side.

    An empty batch has no row.
    """
    rows = []
    for name, batch in pictures.items():
        if not len(batch):
            continue
        shown = batch[:SHOWN]
        alt = f"{name}: {len(shown)} of {counted(len(batch), 'picture')} side by side"
        source = f"data:image/png;base64,{_strip(shown)}"
        rows.append([name, f'<img alt="{alt}" src="{source}">'])
    return rows


def counted(number: int, thing: str) -> str:
    """A number with its noun: 1 face, 2 faces."""
    ending = "" if number == 1 else "s"
    return f"{number} {thing}{ending}"


def png(pixels: UInt8[Tensor, "H W C"], small: bool = False) -> bytes:
    """A picture as a PNG file.

    Args:
        pixels: RGB, or RGB and opacity.
        small: as few bytes as can be, for several times as long.
    """
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG", optimize=small)
    return file.getvalue()


def norms(vectors: Float[Tensor, "B N"]) -> str:
    """Euclidean norms in words: their mean, and smallest to largest where there are several."""
    lengths = vectors.detach().cpu().float().norm(dim=1)
    if not len(lengths):
        return "–"
    if len(lengths) == 1:
        return f"{lengths.mean():.3g}"
    return f"{lengths.mean():.3g} ({lengths.min():.3g}–{lengths.max():.3g})"


def _strip(images: Float[Tensor, "B C H W"]) -> str:
    """Pictures of RGB, or RGB and opacity, side by side as one PNG in base64.

    Large ones are shrunk; small ones get visible pixels.
    """
    images = images.detach().cpu().float().nan_to_num().clamp(0, 1)

    height, width = images.shape[2:]
    if height > SIDE:
        images = F.interpolate(images, (SIDE, round(width * SIDE / height)), mode="area")
    times = SIDE // images.shape[2]
    images = images.repeat_interleave(times, 2).repeat_interleave(times, 3)

    if images.shape[1] == 3:
        opaque = torch.ones_like(images[:, :1])
        images = torch.cat([images, opaque], 1)
    images = F.pad(images, (0, GAP))  # (B, 4, H, W), transparent at the right
    pixels = (255 * images).round().to(torch.uint8)
    strip = pixels.permute(2, 0, 3, 1).flatten(1, 2)  # (H, B · W, 4)
    return base64.b64encode(png(strip, small=True)).decode()
