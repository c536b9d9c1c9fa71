"""The attacks of foolbox and of ART on an encoder of faces: the extra `compare`. Used in chapter 7.

Both libraries attack networks from pictures to vectors. `CodeCoordinates` makes such a network of an encoder; in its
coordinates Eq. 1 is the L1 distance.

    adversaries = toward_codes(foolbox.attacks.LinfAdamPGD(steps=50, rel_stepsize=0.1))
    _, images, near = adversaries(foolbox_model(network), originals, NearCodes(network(targets), 0.1), epsilons=0.05)
    images = FeatureAdversariesPyTorch(art_estimator(network, 112), delta=0.05, step_size=0.005).generate(x, y=guides)
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

try:
    import eagerpy
    import foolbox
    from art.estimators.classification import PyTorchClassifier
    from foolbox.attacks.gradient_descent_base import BaseGradientDescent
except ImportError as error:
    raise ImportError(f'Attacks of other libraries need an extra ({error}): pip install "mofa_lib[compare]".') from None

from mofa_lib.attack import CodeDistance
from mofa_lib.face_code import FaceCode
from mofa_lib.profiles import device


class CodeCoordinates(nn.Module):
    """An encoder as a network from pictures to vectors whose L1 distance is Eq. 1.

    Args:
        encode: maps images to codes.
        distance: Eq. 1 with its weights.
    """

    def __init__(self, encode: Callable[[Tensor], FaceCode], distance: CodeDistance):
        super().__init__()
        self.encode, self.distance = encode, distance

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N"]:
        return self.distance.coordinates(self.encode(images))


class NearCodes(foolbox.criteria.Criterion):
    """foolbox's question whether an attack has succeeded: is the L1 distance to the target's coordinates small?

    Args:
        targets: coordinates of the targets.
        goal: the largest distance that counts as a success.
    """

    def __init__(self, targets: Float[Tensor, "B N"], goal: float):
        self.target_classes, self.goal = eagerpy.astensor(targets), goal

    def __repr__(self) -> str:
        return f"NearCodes(goal={self.goal})"

    def __call__(self, perturbed, outputs):
        outputs, restore = eagerpy.astensor_(outputs)
        return restore((outputs - self.target_classes).abs().sum(axis=1) <= self.goal)


def toward_codes(attack: BaseGradientDescent) -> BaseGradientDescent:
    """The same attack of foolbox with the L1 distance of outputs in place of cross-entropy; goes with `NearCodes`."""

    def get_loss_fn(model, targets):
        return lambda images: (model(images) - targets).abs().sum()

    attack.get_loss_fn = get_loss_fn
    return attack


def foolbox_model(network: nn.Module) -> foolbox.PyTorchModel:
    """A network in eval mode as foolbox takes it, for pictures in [0, 1]."""
    return foolbox.PyTorchModel(network.eval(), bounds=(0, 1), device=device())


def art_estimator(network: nn.Module, size: int) -> PyTorchClassifier:
    """A network in eval mode as ART takes it, for pictures in [0, 1]; its last layer is the network's output.

    Args:
        size: image side in pixels.
    """
    return PyTorchClassifier(
        nn.Sequential(network).eval(),
        loss=nn.MSELoss(),
        input_shape=(3, size, size),
        nb_classes=2,  # ART asks for it; nothing is classified here
        clip_values=(0.0, 1.0),
        device_type="gpu" if device().type == "cuda" else "cpu",
    )
