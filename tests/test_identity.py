"""Features, similarities and the threshold at which both errors are equal."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from mofa_lib import FaceCode, load_morphable_model, profiles
from mofa_lib.artifacts import digest
from mofa_lib.faces import in_batches
from mofa_lib.identity import (
    CodeTrunk,
    IdentityClassifier,
    ImageTrunk,
    build_on_images,
    cosine_similarity,
    load_identity,
    verification_pairs,
)
from mofa_lib.weights import save_weights


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_eq_8_is_the_cosine_of_the_angle():
    a, b = (
        torch.tensor([[3.0, 0.0], [1.0, 1.0], [1.0, 2.0]]),
        torch.tensor([[5.0, 0.0], [1.0, 0.0], [-2.0, -4.0]]),
    )
    torch.testing.assert_close(cosine_similarity(a, b), torch.tensor([1.0, 0.5**0.5, -1.0]))


def test_pairs_are_all_pairs_once():
    identities = torch.tensor([0, 0, 1, 2, 1])
    features = torch.randn(5, 6, generator=seeded())
    same, different = [], []
    for i in range(5):
        for j in range(i + 1, 5):
            similar = float(features[i] @ features[j] / features[i].norm() / features[j].norm())
            (same if identities[i] == identities[j] else different).append(similar)
    found_same, found_different = verification_pairs(identities, features)
    assert sorted(found_same.tolist()) == pytest.approx(sorted(same), abs=1e-6)
    assert sorted(found_different.tolist()) == pytest.approx(sorted(different), abs=1e-6)


def test_codes_and_their_vectors_are_the_same_face(tiny_model):
    classifier = IdentityClassifier(CodeTrunk(42), 6).eval()
    code = FaceCode.from_vector(torch.randn(3, 42, generator=seeded()), tiny_model)
    assert classifier(code).equal(classifier(code.to_vector())) and classifier(code).shape == (3, 6)
    assert classifier.features(code).shape == (3, 256)


def test_codes_are_standardised():
    trunk = CodeTrunk(4).eval()
    z = torch.randn(5, 4, generator=seeded())
    before = trunk(z)
    trunk.mean, trunk.deviation = torch.tensor([1.0, -2, 3, 0]), torch.tensor([2.0, 5, 0.1, 1])
    torch.testing.assert_close(
        trunk(z * trunk.deviation + trunk.mean), before, atol=1e-4, rtol=1e-4
    )


def test_logits_read_the_features_and_dropout_only_trains():
    classifier = IdentityClassifier(CodeTrunk(42), 6)
    z = torch.randn(3, 42, generator=seeded())
    torch.manual_seed(0)
    assert not classifier.train()(z).equal(classifier(z))
    classifier.eval()
    assert classifier(z).equal(classifier.last(torch.relu(classifier.features(z))))


def test_picture_trunks_refuse_what_is_no_picture():
    trunk = ImageTrunk(32, "tiny").eval()
    assert trunk(torch.rand(2, 3, 32, 32)).shape == (2, 256)
    with pytest.raises(ValueError, match="lie in"):
        trunk(torch.full((1, 3, 32, 32), 255.0))


def test_batches_put_together_are_the_whole():
    images = torch.rand(7, 3, 4, 4, generator=seeded())
    sizes = []

    def function(x):
        sizes.append(len(x))
        return x.flatten(1).sum(1)

    torch.testing.assert_close(in_batches(function, images, batch=3), images.flatten(1).sum(1))
    assert sizes == [3, 3, 1]


@pytest.fixture
def small_gpu_profile(cache, monkeypatch):
    chosen = replace(profiles.PROFILES["gpu"], weights="gpu", size=32, identities=6)
    monkeypatch.setitem(profiles.PROFILES, "gpu", chosen)
    return chosen


@pytest.fixture
def encoder(small_gpu_profile):
    """Weights that stand for those of the encoder whose codes are classified."""
    state = {"a": torch.ones(3)}
    model = load_morphable_model("face").digest
    metadata = {"what": "mofa", "profile": "gpu", "size": 32, "model": model}
    save_weights("mofa", "gpu", state, metadata)
    return state


@pytest.mark.parametrize("on", ["codes", "images"])
def test_saved_classifiers_come_back(small_gpu_profile, encoder, on):
    made = (
        IdentityClassifier(CodeTrunk(257), 6)
        if on == "codes"
        else build_on_images(small_gpu_profile)
    )
    made.eval()
    what = {"codes": "identity", "images": "face_identity"}[on]
    metadata = {
        "what": what,
        "profile": "gpu",
        "size": 32,
        "model": load_morphable_model("face").digest,
        "mofa": digest(encoder),
    }
    save_weights(what, "gpu", made.state_dict(), metadata)
    given = torch.rand(4, 257) if on == "codes" else torch.rand(4, 3, 32, 32)
    loaded = load_identity("gpu", on)
    where = loaded.last.bias.device
    torch.testing.assert_close(loaded(given.to(where)).cpu(), made(given), atol=0.02, rtol=0.02)
    assert loaded.weights.made["what"] == what
    assert not loaded.training and F.softmax(loaded(given.to(where)), 1).shape == (4, 6)


@pytest.mark.parametrize("other", ["model", "mofa"])
def test_a_classifier_of_another_model_s_codes_is_refused(small_gpu_profile, encoder, other):
    """Of another face model, or of another encoder: the numbers would have other meanings."""
    metadata = {
        "what": "identity",
        "profile": "gpu",
        "size": 32,
        "model": load_morphable_model("face").digest,
        "mofa": digest(encoder),
    }
    state = IdentityClassifier(CodeTrunk(257), 6).state_dict()
    save_weights("identity", "gpu", state, {**metadata, other: "0" * 64})
    with pytest.raises(ValueError, match=f"was trained for {other} 0000"):
        load_identity("gpu")


def test_there_are_two_kinds(small_gpu_profile):
    with pytest.raises(ValueError, match='reads "codes" or "images", not \'names\''):
        load_identity("gpu", on="names")
