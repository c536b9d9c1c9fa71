"""The decoder of MoFA: from a code to a picture, with a gradient to every part of the code. Derived in chapter 5."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mofa_lib.camera import Camera, pose
from mofa_lib.face_code import FaceCode
from mofa_lib.lighting import irradiance, vertex_normals
from mofa_lib.morphable import MorphableModel
from mofa_lib.raster import Fragments, interpolate, rasterize


@dataclass(frozen=True)
class Rendering:
    """A batch of rendered faces.

    Attributes:
        image: linear RGB, not clamped; 0 where there is no face.
        mask: 1 where there is a face.
        landmarks: the 68 points in pixels.
        vertices: mm, posed, in the camera's axes.
        fragments: what each pixel sees.
    """

    image: Float[Tensor, "B 3 H W"]
    mask: Float[Tensor, "B 1 H W"]
    landmarks: Float[Tensor, "B 68 2"]
    vertices: Float[Tensor, "B V 3"]
    fragments: Fragments

    def over(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The faces, clamped to [0, 1], pasted over pictures."""
        return torch.where(self.mask > 0, self.image.clamp(0, 1), images)

    def _repr_html_(self) -> str:
        from mofa_lib.displays import of_rendering  # which knows this class

        return of_rendering(self)


class FaceRenderer(nn.Module):
    """Model → pose → perspective → visibility → shading, as one differentiable module.

    Colours are lit at the vertices (albedo times irradiance) and interpolated (Gouraud). Pixel values are treated as
    linear, as MoFA does. The visible set of triangles is found without a gradient: an outline that moves over the
    background changes the picture, but not the derivative.

    Args:
        model: the face model.
        size: image side in pixels.
        camera: pinhole that looks at the model's origin.
    Source: Tewari et al. 2017; derived in chapter 5.
    """

    def __init__(self, model: MorphableModel, size: int = 112, camera: Camera | None = None):
        super().__init__()
        if size < 1:
            raise ValueError(f"A picture needs at least one pixel a side, got size={size}.")
        self.model, self.size, self.camera = model, size, camera or Camera()

    def forward(self, code: FaceCode) -> Rendering:
        """Draw a batch of codes."""
        model = self.model
        vertices = pose(model.vertices(code.shape, code.expression), code.rotation, code.translation)
        light = irradiance(vertex_normals(vertices, model.faces), code.illumination.unflatten(1, (3, 9)))
        colours = model.appearance(code.appearance) * light
        screen = self.camera.project(vertices, self.size)
        fragments = rasterize(screen, model.faces, self.size)
        image = interpolate(fragments, model.faces, colours).permute(0, 3, 1, 2)
        mask = (fragments.face >= 0)[:, None].to(image.dtype)
        return Rendering(image, mask, screen[:, model.landmarks, :2], vertices, fragments)
