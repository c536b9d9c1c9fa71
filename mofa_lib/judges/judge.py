"""A judge: the crop of a face, a network that nobody here trained, and the distance of two faces.

Used in chapters 6 and 10.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.artifacts import SHIPPED, load_tensors
from mofa_lib.faces import check_images, five_points
from mofa_lib.judges.networks import DlibNet, FaceRes
from mofa_lib.procrustes import similarity
from mofa_lib.profiles import device

FOLDER = SHIPPED / "judges"

# ArcFace's five points in a picture of 112 pixels; the first pixel's middle is at 0.
TEMPLATE = (
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
    (70.7299, 92.2041),
)  # fmt: skip
TEMPLATE_SIDE = 112

SMALLEST = 40  # side of the crop in pixels of the picture
OUTSIDE = 0.25  # largest share of the crop that may lie outside of the picture
BATCH = 50  # faces at a time; more take gigabytes


@dataclass(frozen=True)
class Recogniser:
    """How a published network wants its pictures.

    Attributes:
        network: makes it, untrained.
        side: of its pictures, pixels.
        mean: of its pixels, RGB in [0, 255].
        scale: what they are divided by.
    """

    network: Callable[[], nn.Module]
    side: int
    mean: tuple[float, float, float]
    scale: float


RECOGNISERS = {
    "dlib": Recogniser(DlibNet, 150, (122.782, 117.001, 104.298), 256),
    "faceres": Recogniser(FaceRes, 224, (123.68, 116.779, 103.939), 1),
}


class Judge(nn.Module):
    """A face recogniser as a meter: how far apart are two faces?

    It always sees the same cut, with the five points where ArcFace has them. A tighter one, without
    forehead and chin, misleads it; so no other can be chosen.

    Args:
        name: dlib or faceres.
    """

    def __init__(self, name: str):
        super().__init__()
        if name not in RECOGNISERS:
            raise ValueError(f"There is no judge {name!r}: choose {' or '.join(RECOGNISERS)}.")
        self.recogniser = RECOGNISERS[name]
        self.network = self.recogniser.network()

    def embed(
        self, images: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B P 2"]
    ) -> Float[Tensor, "B N"]:
        """Embeddings of faces; the Euclidean distance of two is small where they are alike.

        It has a gradient to pictures and points.

        Args:
            images: RGB in [0, 1], of any size, and any number of them, on the judge's device.
            points: the five points of each face, or its 68, in pixels of its picture.
        Raises:
            TypeError, ValueError: the images have another type, shape or range.
            ValueError: the points have another shape or lie outside of their picture; a face is too
                small, or cut too tightly.
        """
        cuts = self.cut(images, points)
        return torch.cat([self(few) for few in cuts.split(BATCH)])

    def forward(self, cuts: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N"]:
        """Embeddings of what `cut` has cut."""
        mean = cuts.new_tensor(self.recogniser.mean)[:, None, None]  # (3, 1, 1)
        return self.network((255 * cuts - mean) / self.recogniser.scale)

    def cut(
        self, images: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B P 2"]
    ) -> Float[Tensor, "B 3 S S"]:
        """What the judge looks at: each face, its five points brought nearest to the template.

        Beyond the edge of a picture its last pixels are repeated. Arguments and errors as in
        `embed`.
        """
        check_images(images)
        if points.shape not in [(len(images), count, 2) for count in (5, 68)]:
            raise ValueError(
                "The judge needs five points or 68 for each picture, shape "
                f"({len(images)}, 5, 2) or ({len(images)}, 68, 2); got {tuple(points.shape)}."
            )
        five = five_points(points) if points.shape[1] == 68 else points
        faces = [
            self._cut(image, face, f"picture {number}")
            for number, (image, face) in enumerate(zip(images, five.to(images), strict=True))
        ]
        side = self.recogniser.side
        return torch.stack(faces) if faces else images.new_zeros(0, 3, side, side)

    def _cut(
        self, image: Float[Tensor, "3 H W"], five: Float[Tensor, "5 2"], name: str
    ) -> Float[Tensor, "3 S S"]:
        height, width = image.shape[1:]
        sides = image.new_tensor([width, height])
        if not ((five >= 0) & (five <= sides)).all():  # also catches NaN
            raise ValueError(
                f"The five points of {name} do not all lie in it, {width} × {height} pixels; "
                "give x and y in its own pixels."
            )

        # From the cut to the picture; the root is the scale of the map.
        side = self.recogniser.side
        template = (image.new_tensor(TEMPLATE) + 0.5) * side / TEMPLATE_SIDE  # (5, 2)
        turn, shift = similarity(template, five)
        scale = float(turn.detach().det().sqrt())
        if not scale * side >= SMALLEST:
            raise ValueError(
                f"The face in {name} is too small: the judge's cut has {scale * side:.0f} pixels a "
                f"side there, and needs {SMALLEST}; give a larger picture."
            )

        # Drawn as finely as the picture is, then averaged.
        finer = min(max(1, round(scale)), 16)
        middles = (torch.arange(side * finer).to(image) + 0.5) / finer
        grid = torch.stack(torch.meshgrid(middles, middles, indexing="xy"), 2)  # (S, S, 2)
        where = 2 * (grid @ turn.T + shift) / sides - 1  # [−1, 1] is the picture
        outside = float((where.detach().abs() > 1).any(2).float().mean())
        if outside > OUTSIDE:
            raise ValueError(
                f"{name.capitalize()} is cut too tightly: {outside:.0%} of what the judge looks at "
                "lies outside of it; leave more room around the face."
            )
        drawn = F.grid_sample(image[None], where[None], padding_mode="border", align_corners=False)
        return F.avg_pool2d(drawn, finer)[0]


def load_judge(name: str = "dlib") -> Judge:
    """A judge with its published weights, in eval mode, on the GPU where there is one.

    Args:
        name: dlib, or faceres, which others have trained on other photographs.
    Raises:
        FileNotFoundError: its file is not there.
        ValueError: there is no such judge, or its file is damaged.
    Examples:
        >>> import torch
        >>> from mofa_lib.judges import load_judge
        >>> judge = load_judge()
        >>> pictures = torch.rand(2, 3, 112, 112).to(next(judge.parameters()).device)
        >>> eyes, nose, mouth = [[40, 45], [72, 45]], [[56, 62]], [[43, 80], [69, 80]]
        >>> points = torch.tensor([eyes + nose + mouth] * 2).float()  # (2, 5, 2)
        >>> judge.embed(pictures, points.to(pictures)).shape
        torch.Size([2, 128])
    """
    judge = Judge(name)
    path = FOLDER / f"{name}.safetensors"
    stored, _ = load_tensors(path)
    try:
        judge.network.load_state_dict(floats(stored))
    except RuntimeError as error:
        raise ValueError(f"{path} is not what the judge {name} needs; install again.") from error
    return judge.eval().requires_grad_(False).to(device())


def floats(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as float32, of what a judge's file holds.

    Each output channel of bytes has a step and a lowest value.
    """
    weights = {}
    for name, tensor in stored.items():
        if tensor.dtype == torch.uint8:
            step, low = stored[f"{name}.step"], stored[f"{name}.low"]  # (D,) each
            tensor = (tensor.float().movedim(0, -1) * step + low).movedim(-1, 0)
        if not name.endswith((".step", ".low")):
            weights[name] = tensor.float()
    return weights
