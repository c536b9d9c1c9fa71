"""The attack beside the bare gradients that it needs, and beside the attacks of other libraries."""

import sys
from collections.abc import Callable
from types import ModuleType

import foolbox
import torch
from art.attacks.evasion import FeatureAdversariesPyTorch
from torch import Tensor, nn

from mofa_lib import CodeDistance, LatentAttack, MoFA, RenderedFaces, load_pretrained
from mofa_lib.adapters import CodeCoordinates, NearCodes, art_estimator, foolbox_model, toward_codes
from mofa_lib.attack import quantize
from mofa_lib.profiles import has_bfloat16
from tests.bench.timing import print_table, side_by_side

# adv-lib imports visdom, for plots that nobody asks for here, and visdom does not always install.
sys.modules.setdefault("visdom", ModuleType("visdom"))
try:
    from adv_lib.attacks import pgd_linf
except ImportError:
    pgd_linf = None

PAIRS, STEPS, EPSILON, RUNS = 16, 20, 0.05, 3
BARE = "bare gradients"


class NearnessLogits(nn.Module):
    """A classifier as adv-lib attacks it: class 0 is the targets' codes, and is always found.

    Args:
        network: from pictures to coordinates of codes.
        goal: the targets' coordinates (B, N).
    """

    def __init__(self, network: CodeCoordinates, goal: Tensor):
        super().__init__()
        self.network, self.goal = network, goal

    def forward(self, images: Tensor) -> Tensor:
        near = 1000 - (self.network(images) - self.goal).abs().sum(1)  # adv-lib keeps what is found
        return torch.stack([near, torch.zeros_like(near)], 1)


def contenders(
    mofa: MoFA, images: Tensor, targets: Tensor, precision: str
) -> dict[str, Callable[[], Tensor]]:
    """What is timed, by name; each gives the attacked pictures."""
    distance = CodeDistance(mofa.model)
    network = CodeCoordinates(mofa, distance).eval()
    with torch.no_grad():
        goal, coordinates = mofa.encode(targets), network(targets)

    def bare_gradients():
        for _ in range(STEPS):
            x = images.clone().requires_grad_()
            torch.autograd.grad(distance(mofa.encode(x), goal).sum(), x)
        return images

    latent = LatentAttack(mofa.encode, distance, EPSILON, STEPS, precision=precision)
    adam = foolbox.attacks.LinfAdamPGD(steps=STEPS, rel_stepsize=0.1, random_start=False)
    bounded, near = foolbox_model(network), NearCodes(coordinates, goal=0.0)
    of_features = FeatureAdversariesPyTorch(
        art_estimator(network),
        delta=EPSILON,
        layer="0",
        step_size=2.5 * EPSILON / STEPS,
        max_iter=STEPS,
        verbose=False,
    )
    arrays = images.numpy(), targets.numpy()
    found = {
        BARE: bare_gradients,
        "LatentAttack": lambda: latent(images, targets).images,
        "foolbox": lambda: toward_codes(adam)(bounded, images, near, epsilons=EPSILON)[1],
        "ART": lambda: torch.from_numpy(of_features.generate(*arrays)),
    }
    if pgd_linf:
        logits, labels = NearnessLogits(network, coordinates), torch.zeros(PAIRS, dtype=torch.long)
        found["adv-lib"] = lambda: pgd_linf(
            logits,
            images,
            labels,
            ε=EPSILON,
            targeted=True,
            steps=STEPS,
            random_init=False,
            loss_function="dl",
            relative_step_size=2.5 / STEPS,
        )
    return found


def lowered(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """All of it in bfloat16, as far as autocast goes."""

    def run():
        with torch.autocast("cpu", torch.bfloat16):
            return function()

    return run


def run() -> dict[str, object]:
    mofa = load_pretrained("cpu").cpu()
    faces = RenderedFaces("test", 40, size=mofa.size)
    images, targets = (faces.batch(index) for index in faces.pairs(PAIRS))

    timed = contenders(mofa, images, targets, "float32")
    if has_bfloat16():
        for name, function in contenders(mofa, images, targets, "bfloat16").items():
            ours = name == "LatentAttack"  # it has a switch
            timed[f"{name}, bfloat16"] = function if ours else lowered(function)
    else:
        print("This CPU emulates bfloat16, so the rows with it are left out.")
    if not pgd_linf:
        print("adv-lib is missing, and so is its row: pip install --no-deps adv-lib==0.2.8")

    distance = CodeDistance(mofa.model)

    @torch.no_grad()
    def apart(pictures: Tensor) -> Tensor:
        return distance(mofa.encode(quantize(pictures)), mofa.encode(targets))

    left = {
        name: round(float((apart(function()) / apart(images)).mean()), 3)
        for name, function in timed.items()
    }
    times = side_by_side(timed, RUNS)
    figures = {name: {**times[name], "left": left[name]} for name in timed}

    rows = []
    for name, figure in figures.items():
        base = BARE if "bfloat16" not in name else f"{BARE}, bfloat16"
        ratio = figure["median_ms"] / figures[base]["median_ms"]
        gain = figures[name.removesuffix(", bfloat16")]["median_ms"] / figure["median_ms"]
        share = "" if BARE in name else f"{figure['left']:.3f}"
        rows.append([name, f"{figure['median_ms']:.0f}", f"{ratio:.2f}", f"{gain:.2f}", share])
    print_table(
        [f"{PAIRS} pairs, {STEPS} steps", "ms", "÷ bare", "float32 ÷ it", "Δ left, saved"], rows
    )
    return figures
