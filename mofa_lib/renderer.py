"""The decoder of MoFA, from a code to a picture. Derived in chapter 5.

The picture has a gradient to every part of the code.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mofa_lib.camera import Camera, pose
from mofa_lib.displays import counted, html_table, strips
from mofa_lib.face_code import FaceCode
from mofa_lib.inputs import check_finite, whole
from mofa_lib.lighting import irradiance
from mofa_lib.mesh import vertex_normals
from mofa_lib.morphable import MorphableModel
from mofa_lib.raster import Fragments, interpolate, rasterize


@dataclass(frozen=True)
class Rendering:
    """A batch of rendered faces.

    Attributes:
        image: linear RGB, not clamped; 0 where there is no face.
        mask: 1 where there is a face; at the edge of an averaged one the share of it.
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
        return torch.lerp(images, self.image.clamp(0, 1), self.mask)

    def averaged(self, factor: int) -> "Rendering":
        """The same in a smaller picture, without jagged edges: each pixel is a mean of many.

        Args:
            factor: sides of the squares that become one pixel; it divides height and width.
        Returns:
            A rendering whose `fragments` stay those of the larger picture.
        Raises:
            ValueError: the factor does not divide them.
        """
        factor = whole("factor", factor, 1)
        height, width = self.image.shape[2:]
        if height % factor or width % factor:
            raise ValueError(
                f"A picture of {height} × {width} pixels has no squares of {factor} × {factor}: "
                "give a factor that divides both sides."
            )
        share = F.avg_pool2d(self.mask, factor)
        image = F.avg_pool2d(self.image * self.mask, factor) / share.clamp(min=1e-6)
        return replace(self, image=image, mask=share, landmarks=self.landmarks / factor)

    def _repr_html_(self) -> str:
        """The first faces, clamped to [0, 1], transparent where there is no face."""
        height, width = self.image.shape[2:]
        caption = f"Rendering: {counted(len(self.image), 'face')}, {height} × {width} pixels"
        with_alpha = torch.cat([self.image, self.mask], 1)  # (B, 4, H, W)
        return html_table(caption, strips({"rendered": with_alpha}))


class FaceRenderer(nn.Module):
    """Model → pose → perspective → visibility → shading, as one differentiable module.

    Colours are lit at the vertices (albedo times irradiance) and interpolated (Gouraud). Pixel
    values are treated as linear, as MoFA does. The visible set of triangles is found without a
    gradient: an outline that moves over the background changes the picture, but not the derivative.

    Args:
        model: the face model.
        size: image side in pixels.
        camera: pinhole that looks at the model's origin.
    Raises:
        ValueError: `size` is less than 1.
    Examples:
        >>> from mofa_lib import FaceCode, FaceRenderer, load_morphable_model
        >>> model = load_morphable_model()
        >>> FaceRenderer(model, size=64)(FaceCode.mean(model)).image.shape
        torch.Size([1, 3, 64, 64])

    Source: Tewari et al. 2017; derived in chapter 5.
    """

    def __init__(self, model: MorphableModel, size: int = 224, camera: Camera | None = None):
        super().__init__()
        self.model = model
        self.size = whole("size", size, 1)
        self.camera = camera or Camera()

    def surface(self, code: FaceCode) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B V 3"]]:
        """What is drawn of a batch of codes: the posed vertices and their lit colours.

        Returns:
            Vertices in mm, and colours in linear RGB, not clamped.
        """
        model = self.model
        z = code.to_vector().to(model.mean_shape.dtype)
        code = FaceCode.from_vector(z, model)  # refused if it is another model's
        heads = model.vertices(code.shape, code.expression)  # (B, V, 3)
        vertices = pose(heads, code.rotation, code.translation)  # (B, V, 3)
        normals = vertex_normals(vertices, model.faces)  # (B, V, 3)
        light = irradiance(normals, code.illumination.unflatten(1, (3, 9)))  # (B, V, 3)
        return vertices, model.appearance(code.appearance) * light

    def forward(self, code: FaceCode) -> Rendering:
        """Draw a batch of codes.

        Raises:
            ValueError: a code is not finite, or belongs to another model.
        """
        model = self.model
        check_finite("Codes to draw", code.to_vector())
        vertices, colours = self.surface(code)  # both (B, V, 3)
        screen = self.camera.project(vertices, self.size)  # (B, V, 3): x, y in pixels, depth in mm
        fragments = rasterize(screen, model.faces, self.size)
        image = interpolate(fragments, model.faces, colours).permute(0, 3, 1, 2)  # (B, 3, H, W)
        mask = (fragments.face >= 0)[:, None].to(image.dtype)  # (B, 1, H, W)
        return Rendering(
            image=image,
            mask=mask,
            landmarks=screen[:, model.landmarks, :2],
            vertices=vertices,
            fragments=fragments,
        )
