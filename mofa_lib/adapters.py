"""The attacks of foolbox and of ART on MoFA: the extra `compare`. Used in chapter 7.

Both libraries attack networks from pictures to vectors. `CodeCoordinates` makes such a network of
MoFA; in its coordinates Eq. 1 is the L1 distance.

    network = CodeCoordinates(mofa, CodeDistance(mofa.model))

    adam = toward_codes(foolbox.attacks.LinfAdamPGD(steps=50, rel_stepsize=0.1, random_start=False))
    near_targets = NearCodes(network(targets), goal=0.1)
    _, images, near = adam(foolbox_model(network), originals, near_targets, epsilons=0.05)

    features = FeatureAdversariesPyTorch(
        art_estimator(network), delta=0.05, layer="0", step_size=0.005, max_iter=50
    )
    images = features.generate(originals.numpy(), targets.numpy())
"""

from jaxtyping import Float
from torch import Tensor, nn

try:
    import eagerpy
    import foolbox
    from art.estimators.classification import PyTorchClassifier
    from foolbox.attacks.gradient_descent_base import BaseGradientDescent
except ImportError as error:
    raise ImportError(
        f'Attacks of other libraries need an extra ({error}): pip install "mofa_lib[compare]".'
    ) from None

from mofa_lib.attack import CodeDistance
from mofa_lib.autoencoder import MoFA


class CodeCoordinates(nn.Module):
    """MoFA's encoder as a network from pictures to vectors whose L1 distance is Eq. 1.

    Args:
        mofa: frozen; both libraries would fill the gradients of its weights.
        distance: Eq. 1 with its weights.
    """

    def __init__(self, mofa: MoFA, distance: CodeDistance):
        super().__init__()
        self.mofa, self.distance = mofa, distance

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N"]:
        """The coordinates of the pictures' codes."""
        return self.distance.coordinates(self.mofa.encode(images))


class NearCodes(foolbox.criteria.Criterion):
    """foolbox's question whether an attack has succeeded: is the L1 distance to the target small?

    Args:
        targets: coordinates of the targets, as `CodeCoordinates` gives them.
        goal: the largest distance that counts as a success.
    """

    def __init__(self, targets: Float[Tensor, "B N"], goal: float):
        # Where a criterion has target_classes, foolbox descends and hands them to get_loss_fn.
        self.target_classes = eagerpy.astensor(targets.detach())
        self.goal = goal

    def __repr__(self) -> str:
        return f"NearCodes(goal={self.goal})"

    def __call__(self, perturbed, outputs):
        outputs, restore = eagerpy.astensor_(outputs)
        distance = (outputs - self.target_classes).abs().sum(axis=1)
        return restore(distance <= self.goal)


def toward_codes(attack: BaseGradientDescent) -> BaseGradientDescent:
    """Give a gradient attack of foolbox the L1 distance of outputs as its loss, for `NearCodes`.

    The attack is changed in place, and returned.
    """

    def get_loss_fn(model, targets):
        return lambda images: (model(images) - targets).abs().sum()

    attack.get_loss_fn = get_loss_fn
    return attack


def foolbox_model(network: CodeCoordinates) -> foolbox.PyTorchModel:
    """The network in eval mode as foolbox takes it."""
    return foolbox.PyTorchModel(network.eval(), bounds=(0, 1), device=network.mofa.scales.device)


def art_estimator(network: CodeCoordinates) -> PyTorchClassifier:
    """The network in eval mode as ART takes it; its layer "0" is the network's output."""
    return PyTorchClassifier(
        nn.Sequential(network).eval(),
        loss=nn.MSELoss(),
        input_shape=(3, network.mofa.size, network.mofa.size),
        nb_classes=2,  # ART asks for it; nothing is classified here
        clip_values=(0.0, 1.0),
        device_type="gpu" if network.mofa.scales.is_cuda else "cpu",
    )
