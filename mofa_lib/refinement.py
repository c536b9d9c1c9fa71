"""Analysis by synthesis: a code pulled back to what its picture shows. Derived in chapter 13.

An attack changes the code and hardly the picture. The renderer knows what a code looks like, so a
few steps of descent on the difference between the drawing and the picture undo what they can.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mofa_lib.autoencoder import MoFA
from mofa_lib.face_code import FaceCode
from mofa_lib.faces import check_images
from mofa_lib.inputs import whole
from mofa_lib.losses import LossWeights, photometric, statistical
from mofa_lib.renderer import FaceRenderer

MOMENTUM = 0.9


class Refinement:
    """Steps of descent, with momentum, on the photometric and statistical terms of chapter 6.

    There are no landmarks: nobody marks them in an attacked picture. A step moves each coordinate
    of the encoder's output by the rate times its gradient, scaled by the length of the whole.

    Args:
        mofa: whose codes are refined.
        steps: of the descent; 0 leaves the codes as they are.
        rate: length of a step, in units of the encoder's output.
        side: at which faces are drawn and compared with averaged pictures, pixels; by default the
            network's own.
    Raises:
        ValueError: an argument is out of range.
    Source: analysis by synthesis is Blanz and Vetter's fitting (1999); derived in chapter 13.
    """

    def __init__(self, mofa: MoFA, steps: int = 20, rate: float = 0.05, side: int | None = None):
        if not rate > 0:
            raise ValueError(f"The rate of a descent is positive, got {rate}.")
        self.mofa = mofa
        self.steps = whole("steps", steps, 0)
        self.rate = rate
        side = whole("side", side or mofa.size, 1)
        if mofa.size % side:
            raise ValueError(f"The side must divide the pictures' {mofa.size}, got {side}.")
        self.renderer = FaceRenderer(mofa.model, side, mofa.renderer.camera)
        self.weights = LossWeights()

    def __call__(
        self,
        images: Float[Tensor, "B 3 H W"],
        code: FaceCode | None = None,
        differentiable: bool = False,
    ) -> FaceCode:
        """The codes after the descent.

        Args:
            images: RGB in [0, 1].
            code: where it starts; by default where the encoder says.
            differentiable: keep the graph of every step, for an attacker who looks through them;
                without it the refined codes have no gradient at all.
        """
        check_images(images, self.mofa.size)
        code = self.mofa.encode(images) if code is None else code
        scales = self.mofa.scales
        u = code.to_vector() / scales  # (B, N)
        u = u if differentiable else u.detach()
        speed = torch.zeros_like(u)
        for _ in range(self.steps):
            slope = self._slope(u, images, differentiable)
            length = slope.norm(dim=1, keepdim=True).clamp(min=1e-9)
            speed = MOMENTUM * speed - self.rate * (1 - MOMENTUM) * slope / length
            u = u + speed
        return FaceCode.from_vector(u * scales, self.mofa.model)

    def energy(self, images: Float[Tensor, "B 3 H W"], code: FaceCode) -> Float[Tensor, " B"]:
        """What is descended: how far drawing and picture differ, and the face from the mean."""
        rendering = self.mofa.decode(code, self.renderer)
        factor = self.mofa.size // self.renderer.size
        pictures = F.avg_pool2d(images, factor)
        return photometric(rendering, pictures) + statistical(code, self.weights)

    @torch.enable_grad()
    def _slope(self, u: Tensor, images: Tensor, differentiable: bool) -> Float[Tensor, "B N"]:
        """The energy's gradient to the encoder's output."""
        if not differentiable:
            u, images = u.detach(), images.detach()
        if not u.requires_grad:
            u.requires_grad_()
        code = FaceCode.from_vector(u * self.mofa.scales, self.mofa.model)
        energy = self.energy(images, code).sum()
        (slope,) = torch.autograd.grad(energy, u, create_graph=differentiable)
        return slope
