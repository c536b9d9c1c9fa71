"""A distance over every layer: by hand, and where the end of a network says nothing."""

from itertools import combinations

import pytest
import torch
from torch import nn

from mofa_lib.attack import EveryLayer, LatentAttack


@pytest.fixture
def images():
    return torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_a_layer_counts_in_its_own_unit(images):
    """Twice a picture is as far from twice another as they are, when units are twice as long."""
    first, second = nn.Flatten(), nn.Linear(48, 48, bias=False)
    nn.init.eye_(second.weight)
    second.weight.data *= 2
    network = nn.Sequential(first, second)
    layers = EveryLayer(network, [first, second], images)

    pixels = images.flatten(1)
    unit = sum((a - b).norm() for a, b in combinations(pixels, 2)) / 15
    torch.testing.assert_close(layers.units[0], unit)
    torch.testing.assert_close(layers.units[1], 2 * unit)

    found = layers.distance(layers(images[:3]), layers(images[3:]))
    torch.testing.assert_close(found, (pixels[:3] - pixels[3:]).norm(dim=1) / unit)


def test_strangers_are_one_apart(images):
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2))
    layers = EveryLayer(network, [network[0], network[3]], images)
    codes = layers(images)
    a, b = torch.combinations(torch.arange(6)).T
    torch.testing.assert_close(layers.distance(codes[a], codes[b]).mean(), torch.tensor(1.0))


def test_it_sees_what_the_end_of_the_network_loses(images):
    """A layer behind which nothing arrives: an attack on the code stands still, this one moves."""
    blind = nn.Linear(48, 4)
    nn.init.zeros_(blind.weight)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 48), blind)
    layers = EveryLayer(network, [network[0], network[1]], images)
    originals, targets = images[:3], images[3:]

    def apart(a, b):
        return (a - b).norm(dim=1)

    with pytest.warns(UserWarning, match="gradient of the attack is zero"):
        still = LatentAttack(network, apart, 0.1, 20)(originals, targets)
    moved = LatentAttack(layers, layers.distance, 0.1, 20, precision="float32")(originals, targets)
    assert not still.perturbation.any()
    before = layers.distance(layers(originals), layers(targets))
    assert bool((moved.distance < before).all())
    assert not any(layer._forward_hooks for layer in layers.layers)  # nothing stays behind


@pytest.mark.parametrize(
    ("layers", "count", "says"),
    [
        (0, 6, "Units need layers and two pictures or more, got 0 and 6."),
        (1, 1, "Units need layers and two pictures or more, got 1 and 1."),
        (1, 0, "Units need layers and two pictures or more, got 1 and 0."),
    ],
)
def test_units_need_pictures(images, layers, count, says):
    flat = nn.Flatten()
    with pytest.raises(ValueError, match=says):
        EveryLayer(flat, [flat] * layers, images[:count])


def test_a_layer_that_says_always_the_same_has_no_unit(images):
    flat = nn.Flatten()
    with pytest.raises(ValueError, match="Layer 0 has the same output for all of the pictures."):
        EveryLayer(flat, [flat], images[:1].expand(3, -1, -1, -1))
