"""MoFA: where it starts, what it refuses, and what the shipped weights can do."""

import urllib.error
from dataclasses import replace

import pytest
import torch
from torchvision import models

from mofa_lib import (
    FaceCode,
    FaceRenderer,
    MoFA,
    RenderedFaces,
    load_morphable_model,
    load_pretrained,
    profiles,
)
from mofa_lib.autoencoder import build
from mofa_lib.backbones import backbone
from mofa_lib.faces import check_images
from mofa_lib.losses import landmark, photometric
from mofa_lib.morphable import MorphableModel
from mofa_lib.subdivision import subdivided
from mofa_lib.weights import Weights, save_weights


@pytest.fixture(scope="module")
def mofa(tiny_model):
    torch.manual_seed(0)
    mofa = MoFA(tiny_model, size=32)
    torch.nn.init.normal_(mofa.head.weight, std=0.05)
    return mofa.eval()


def pictures(count: int = 2, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_training_starts_at_the_mean_face(tiny_model):
    mofa = MoFA(tiny_model, size=32)
    for mode in (True, False):
        mofa.train(mode)
        assert not mofa.encode(pictures()).to_vector().any()
        mean = FaceRenderer(tiny_model, 32)(FaceCode.mean(tiny_model, 2))
        assert mofa(pictures()).image.equal(mean.image)


def test_codes_come_from_the_picture_one_by_one(mofa):
    """In eval mode a code depends on its own picture only."""
    images = pictures(3)
    codes = mofa.encode(images).to_vector()
    assert (codes[0] - codes[1]).abs().max() > 1e-3
    torch.testing.assert_close(
        mofa.encode(images[1:2]).to_vector()[0], codes[1], atol=1e-5, rtol=1e-4
    )
    assert mofa.encode(images).to_vector().equal(codes)


def test_decoding_is_rendering(mofa):
    code = mofa.encode(pictures())
    assert mofa(pictures()).image.equal(FaceRenderer(mofa.model, 32)(code).image)


def test_decoding_keeps_full_precision_inside_a_mixed_precision_step(mofa):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        code = mofa.encode(pictures())
        rendering = mofa.decode(code)
    assert rendering.image.dtype == torch.float32
    torch.testing.assert_close(rendering.image, mofa.decode(code).image, atol=1e-6, rtol=0)


def test_gradients_reach_every_parameter_and_the_picture(tiny_model):
    mofa = MoFA(tiny_model, size=32)
    torch.nn.init.normal_(mofa.head.weight, std=0.05)
    images = pictures().requires_grad_()
    rendering = mofa(images)
    (rendering.image.sum() + rendering.landmarks.sum()).backward()
    for name, parameter in mofa.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert images.grad.isfinite().all() and images.grad.any()


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("small", 512),
        ("tiny", 512),
        ("resnet18", 512),
        ("resnet50", 2048),
        ("vgg19", 4096),
        ("alexnet", 4096),
    ],
)
@pytest.mark.parametrize("size", [112, 224])
def test_backbones_give_their_features(name, features, size):
    with torch.device("meta"):  # shapes without numbers
        network, count = backbone(name)
        assert count == features
        assert network(torch.empty(2, 3, size, size)).shape == (2, features)


@pytest.mark.parametrize("name", ["resnet18", "alexnet"])
def test_without_a_network_the_start_is_random_and_a_sentence_says_so(name, monkeypatch, tmp_path):
    """Nothing is downloaded here: torch.hub's one function that opens an address fails as it does
    offline.
    """

    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    with pytest.warns(
        UserWarning, match=f"weights for {name} cannot be had .*so the encoder starts at random"
    ):
        network, features = backbone(name, pretrained=True)
    assert network.eval()(torch.rand(1, 3, 112, 112)).shape == (1, features)


def test_imagenet_s_weights_are_taken_where_they_can_be_had(monkeypatch):
    """Their file is a state dictionary of torchvision's network."""
    published = {
        key: torch.full_like(value, 0.5) for key, value in models.resnet18().state_dict().items()
    }
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: published
    )
    weights = backbone("resnet18", pretrained=True)[0].state_dict()
    assert all(value.equal(published[key]) for key, value in weights.items())


def test_the_small_backbone_is_small():
    assert 3e6 < sum(p.numel() for p in backbone("small")[0].parameters()) < 5e6


def test_other_backbones_are_refused():
    with pytest.raises(
        ValueError,
        match="no encoder 'vgg11': choose small, tiny, resnet18, resnet50, vgg19 or alexnet",
    ):
        backbone("vgg11")


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
            TypeError,
            "got torch.uint8; divide 8-bit values by 255",
        ),
        (
            torch.zeros(1, 3, 32, 32).numpy(),
            TypeError,
            "must be a floating-point tensor in .* got ndarray",
        ),
        (torch.zeros(1, 3, 16, 32), ValueError, r"shape \(B, 3, 32, 32\), got \(1, 3, 16, 32\)"),
        (torch.zeros(1, 1, 32, 32), ValueError, r"got \(1, 1, 32, 32\)"),
        (torch.zeros(1, 32, 32, 3), ValueError, r"got \(1, 32, 32, 3\)"),
        (
            torch.zeros(3, 32, 32),
            ValueError,
            r"got \(3, 32, 32\); align a photograph with align_photo",
        ),
        (
            torch.full((1, 3, 32, 32), 255.0),
            ValueError,
            r"lie in \[0, 1\], got values from 255 to 255",
        ),
        (torch.full((1, 3, 32, 32), -0.1), ValueError, r"got values from -0.1 to -0.1"),
        (torch.full((1, 3, 32, 32), torch.nan), ValueError, "got values from nan to nan"),
        (torch.full((1, 3, 32, 32), torch.inf), ValueError, "got values from inf to inf"),
    ],
)
def test_what_is_no_picture_is_refused(unchecked, mofa, images, error, message):
    with pytest.raises(error, match=message):
        mofa.encode(images)


def test_one_bad_pixel_is_enough():
    images = pictures()
    images[1, 2, 3, 4] = torch.nan
    with pytest.raises(ValueError, match="nan"):
        check_images(images, 32)


@pytest.mark.parametrize("value", [0.0, 1.0, -1e-5, 1 + 1e-5])
def test_the_ends_of_the_range_and_rounding_are_allowed(value):
    check_images(torch.full((1, 3, 8, 8), value), 8)


def test_an_empty_batch_stays_empty(mofa):
    assert mofa.encode(torch.zeros(0, 3, 32, 32)).to_vector().shape == (0, 42)


@pytest.fixture
def small_gpu_profile(monkeypatch):
    """The profile `gpu`, but small, so that its weights are made in a moment."""
    chosen = replace(profiles.PROFILES["gpu"], weights="gpu", size=32, encoder="small")
    monkeypatch.setitem(profiles.PROFILES, "gpu", chosen)
    return chosen


def test_missing_weights_name_the_command(cache, small_gpu_profile):
    with pytest.raises(
        FileNotFoundError, match="python -m mofa_lib.training --what mofa --profile gpu"
    ):
        load_pretrained("gpu")


def test_saved_weights_give_the_same_codes(cache, small_gpu_profile):
    trained = build(small_gpu_profile).eval()
    torch.nn.init.normal_(trained.head.weight, std=0.02)
    metadata = {"what": "mofa", "profile": "gpu", "size": 32, "model": trained.model.digest}
    paths = save_weights("mofa", "gpu", trained.state_dict(), metadata)
    loaded = load_pretrained("gpu")
    where = loaded.scales.device
    found = loaded.encode(pictures().to(where)).to_vector().cpu()
    torch.testing.assert_close(found, trained.encode(pictures()).to_vector(), rtol=0.02, atol=0.02)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert trained.weights is None and loaded.weights == Weights(paths, metadata)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 112}, "was trained for size 112, not 32"),
        ({"model": "0" * 64}, "was trained for model 0000"),
        ({"profile": "paper"}, "was trained for profile paper, not gpu"),
        ({"what": "detector"}, "was trained for what detector, not mofa"),
    ],
)
def test_weights_of_something_else_are_refused(cache, small_gpu_profile, wrong, message):
    digest = load_morphable_model(small_gpu_profile.model).digest
    metadata = {"what": "mofa", "profile": "gpu", "size": 32, "model": digest, **wrong}
    save_weights("mofa", "gpu", {"head.bias": torch.zeros(257)}, metadata)
    with pytest.raises(ValueError, match=message):
        load_pretrained("gpu")


def test_runs_on_one_device(tiny_tensors, fake_gpu):
    mofa = fake_gpu.move(MoFA(MorphableModel(tiny_tensors, "tiny"), size=32).eval(), "cuda")
    with fake_gpu.mode, torch.no_grad():
        rendering = mofa(torch.rand(2, 3, 32, 32, device="cuda"))
        assert {t.device.type for t in (rendering.image, rendering.mask, rendering.landmarks)} == {
            "cuda"
        }


@pytest.mark.parametrize("encoder", ["small", "tiny", "resnet18", "resnet50", "vgg19", "alexnet"])
def test_every_encoder_runs_on_one_device(tiny_tensors, fake_gpu, encoder):
    with torch.device("meta"):  # numbers are not needed
        empty = backbone(encoder)
    mofa = MoFA(MorphableModel(tiny_tensors, "tiny"), size=64)
    mofa.backbone, mofa.head = empty[0], torch.nn.Linear(empty[1], mofa.head.out_features)
    fake_gpu.move(mofa.eval(), "cuda")
    with fake_gpu.mode, torch.no_grad():
        assert (
            mofa.encode(torch.rand(2, 3, 64, 64, device="cuda")).to_vector().device.type == "cuda"
        )


def test_the_shipped_weights_explain_faces_that_they_never_saw():
    """Better than the mean face does, in colour and in landmarks, and every face another way."""
    mofa = load_pretrained("cpu")
    where = mofa.scales.device
    faces = RenderedFaces("test", 8)
    images, marks = faces.batch(slice(0, 8)).to(where), faces.landmarks.to(where)
    with torch.no_grad():
        found, mean = mofa(images), mofa.decode(FaceCode.mean(mofa.model, 8))
    assert photometric(found, images).mean() < 0.6 * photometric(mean, images).mean()
    assert (
        landmark(found.landmarks, marks, 224).mean()
        < 0.5 * landmark(mean.landmarks, marks, 224).mean()
    )
    code = mofa.encode(images).shape
    assert torch.cdist(code, code).fill_diagonal_(9).min() > 0.1


def test_a_figure_s_face_is_the_same_face_with_soft_edges(model):
    """But for the mean over its squares, the fine model's renderer draws it at twice the size."""
    mofa = MoFA(model, size=48, encoder="tiny").eval()
    code = FaceCode.mean(model, 2)
    code.shape[:] = torch.randn(code.shape.shape, generator=torch.Generator().manual_seed(1))
    drawn, plain = mofa.draw(code), mofa.decode(code)
    fine = FaceRenderer(subdivided(model), 96)(code)
    shares = fine.mask.unflatten(2, (48, 2)).unflatten(4, (48, 2)).mean((3, 5))
    torch.testing.assert_close(drawn.mask, shares)
    torch.testing.assert_close(drawn.landmarks, plain.landmarks)
    inside = (drawn.mask == 1) & (plain.mask == 1)
    difference = (drawn.image - plain.image).abs()[inside.expand_as(plain.image)]
    assert difference.mean() < 0.01 and inside.float().mean() > 0.2
