"""What people give: other types, other numbers, none at all. Each gets the right result, or one
sentence.
"""

import unicodedata

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mofa_lib import (
    CodeDistance,
    FaceCode,
    FaceRenderer,
    LatentAttack,
    MoFA,
    PhotoFolder,
    RenderedFaces,
    fgsm,
    load_morphable_model,
    metrics,
    show,
)
from mofa_lib.alignment import align_photo, align_points, five_point_template
from mofa_lib.attack import quantize, random_signs
from mofa_lib.camera import Camera, pose, rotation_matrix
from mofa_lib.defence import gaussian_noise
from mofa_lib.detector import calibrate, calibrate_together, flagged
from mofa_lib.export import export_head
from mofa_lib.inputs import rows, takes_arrays, whole
from mofa_lib.lighting import irradiance
from mofa_lib.mesh import vertex_normals
from mofa_lib.photo_files import as_rgb
from mofa_lib.raster import rasterize

pytestmark = pytest.mark.usefixtures("unchecked")
FACE = [[69, 111], [108, 111], [88, 135], [73, 152], [105, 152]]


@pytest.fixture(scope="module")
def mofa(tiny_model):
    torch.manual_seed(0)
    mofa = MoFA(tiny_model, 24, "tiny").eval().requires_grad_(False)
    torch.nn.init.normal_(mofa.head.weight, std=0.01)
    return mofa


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOFA_CACHE", str(tmp_path_factory.mktemp("cache")))
        return RenderedFaces("test", 4, size=8, per_identity=2)


@pytest.fixture
def images():
    return torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))


def brightness(images):
    return images.mean((1, 2, 3))


# Whole numbers and indices


@pytest.mark.parametrize("three", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_whole_numbers_of_any_library_are_one_kind(three):
    assert type(whole("count", three, 1)) is int and whole("count", three, 1) == 3


@pytest.mark.parametrize("wrong", [3.0, "3", None, [3], np.float32(3), torch.tensor(3.0)])
def test_other_things_are_no_whole_numbers(wrong):
    with pytest.raises(TypeError, match="A whole number count ≥ 1 is needed, got"):
        whole("count", wrong, 1)


INDICES = {
    "list": [1, 3],
    "tuple": (1, 3),
    "range": range(1, 4, 2),
    "array": np.array([1, 3], np.int32),
    "bytes": np.array([1, 3], np.uint8),
    "tensor": torch.tensor([1, 3]),
    "byte tensor": torch.tensor([1, 3], dtype=torch.uint8),
    "from the end": [-3, -1],
    "slice": slice(1, 4, 2),
    "mask": torch.tensor([False, True, False, True]),
    "list of truth": [False, True, False, True],
    "list of tensors": [torch.tensor(1), torch.tensor(3)],
}


@pytest.mark.parametrize("kind", INDICES)
def test_indices_of_any_kind_choose_the_same_rows(faces, tiny_model, kind):
    chosen = INDICES[kind]
    assert rows(chosen, 4).tolist() == [1, 3]
    assert faces.batch(chosen).equal(faces.images[[1, 3]] / 255)
    assert faces.skin(chosen).equal(faces.skin([1, 3]))
    code = FaceCode.from_vector(torch.randn(4, 42), tiny_model)
    assert code[chosen].to_vector().equal(code.to_vector()[[1, 3]])


@pytest.mark.parametrize("one", [2, np.int64(2), torch.tensor(2), -2])
def test_one_index_keeps_the_batch_axis(faces, tiny_model, one):
    assert faces.batch(one).equal(faces.batch([2]))
    assert FaceCode.mean(tiny_model, 4)[one].shape.shape == (1, 3)


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ([1.0, 2.0], TypeError, "Indices are whole numbers, a slice or a mask, got"),
        ("a", TypeError, "Indices are whole numbers"),
        (None, TypeError, "Indices are whole numbers"),
        ([[0, 1]], TypeError, "Indices are whole numbers"),
        ([[0], [1, 2]], TypeError, "Indices are whole numbers"),
        ([True], IndexError, "A mask needs 4 truth values, got 1"),
        ([4], IndexError, "There are 4 faces; there is no face 4"),
        ([-5], IndexError, "There are 4 faces; there is no face -5"),
    ],
)
def test_what_is_no_index_is_named(faces, wrong, error, sentence):
    with pytest.raises(error, match=sentence):
        faces.batch(wrong)


@pytest.mark.parametrize("index", [np.int64(2), torch.tensor(2)])
def test_a_face_has_a_number_of_any_library(faces, index):
    assert faces[index].image.equal(faces[2].image) and faces[index].identity == 1
    with pytest.raises(TypeError, match="One face has a whole number, got .*; `batch` takes"):
        faces[0:2]


@pytest.mark.parametrize("kind", [np.int64, torch.tensor])
def test_sizes_counts_and_seeds_of_any_library(cache, tiny_model, kind):
    data = RenderedFaces("test", kind(2), seed=kind(3), size=kind(8), per_identity=kind(1))
    assert data.images.equal(RenderedFaces("test", 2, 3, 8, 1).images)
    assert len(list(cache.glob("faces/*"))) == 1  # one set, one name
    assert len(data.pairs(kind(2))[0]) == 2
    assert FaceRenderer(tiny_model, kind(8))(FaceCode.mean(tiny_model, kind(2))).mask.any()
    assert metrics.mean_interval([1.0, 2, 4], seed=kind(5)) == metrics.mean_interval(
        [1.0, 2, 4], seed=5
    )


@pytest.mark.parametrize("wrong", [{"count": 2.0}, {"seed": 1.5}, {"size": "8"}])
def test_fractions_make_no_data_set(cache, wrong):
    with pytest.raises(TypeError, match=f"A whole number {next(iter(wrong))} ≥ . is needed"):
        RenderedFaces("test", **{"count": 2, "size": 8, **wrong})


# Types of numbers


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_pictures_of_any_precision_have_the_same_code(mofa, images, kind):
    given = images.to(kind)
    found = mofa.encode(given).to_vector()
    torch.testing.assert_close(found, mofa.encode(given.float()).to_vector(), atol=1e-5, rtol=0)
    distance = CodeDistance(mofa.model)
    attack = LatentAttack(mofa.encode, distance, epsilon=0.1, steps=3, precision="float32")
    result, wanted = attack(given, given.flip(0)), attack(given.float(), given.float().flip(0))
    assert result.images.isfinite().all()
    assert (result.distance - wanted.distance).abs().max() < 1e-3 * wanted.distance.max()
    assert fgsm(brightness, given, 0.1).isfinite().all()


@pytest.mark.parametrize(
    "use",
    [
        lambda v: fgsm(brightness, v, 0.1),
        lambda v: random_signs(v, 0.1, torch.Generator()),
        lambda v: gaussian_noise(v, 0.1, torch.Generator()),
        quantize,
        metrics.linf,
        lambda v: metrics.psnr(v, v),
        lambda v: show.amplified(v, 3),
    ],
)
def test_pictures_in_8_bits_are_refused_where_they_are_computed_with(images, use):
    with pytest.raises(TypeError, match="got torch.uint8; divide 8-bit values by 255"):
        use((255 * images).byte())


def test_arrays_are_no_pictures_but_it_is_said_how_they_become_some(mofa, images):
    with pytest.raises(TypeError, match="got ndarray; torch.from_numpy makes one"):
        mofa.encode(images.numpy())


GEOMETRY = {
    "normals": lambda p, z: vertex_normals(p, np.array([[0, 1, 2], [1, 2, 3]])),
    "unsigned": lambda p, z: vertex_normals(p, np.array([[0, 1, 2], [1, 2, 3]], np.uint32)),
    "rotation": lambda p, z: rotation_matrix(p[0]),
    "pose": lambda p, z: pose(p, z[:, 0], z[:, 1]),
    "camera": lambda p, z: Camera().project(p, 9),
    "light": lambda p, z: irradiance(p, z),
    "raster": lambda p, z: rasterize(8 * p, np.array([[2, 1, 0]]), 8).depth,
    "error": lambda p, z: metrics.vertex_errors(p, p[:, ::-1].copy(), scale=True),
    "angle": lambda p, z: metrics.normal_error(p, 0.5 - p, np.array([[0, 1, 2]])),
    "lights": lambda p, z: metrics.light_error(z, z[::-1].copy()),
    "points": lambda p, z: align_points(100 * p[:, :, :2], 112),
}


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("kinds", [("f8", "f8"), ("f4", "f8"), ("f8", "f4"), (">f8", "f4")])
def test_arrays_do_as_well_as_tensors(name, kinds):
    random = np.random.default_rng(0)
    p, z = random.random((2, 5, 3)), random.random((2, 3, 9))
    if name == "pose":
        z = random.random((2, 2, 3))
    found = GEOMETRY[name](p.astype(kinds[0]), z.astype(kinds[1]))
    wanted = GEOMETRY[name](p.astype("f4"), z.astype("f4"))
    torch.testing.assert_close(found.float(), wanted.float(), atol=1e-3, rtol=1e-3)


def test_an_array_is_copied_and_anything_else_left_alone():
    array, seen = np.zeros(3), takes_arrays(lambda *given, **named: (given, named))
    ((tensor, text), named) = seen(array, "text", more=np.ones(2, np.uint8))
    tensor += 1
    assert not array.any() and text == "text" and named["more"].dtype == torch.uint8


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_codes_of_another_precision_are_drawn(tiny_model, kind):
    z = (0.3 * torch.randn(2, 42, generator=torch.Generator().manual_seed(2))).to(kind)
    renderer = FaceRenderer(tiny_model, 12)
    wanted = renderer(FaceCode.from_vector(z.float(), tiny_model)).image
    assert renderer(FaceCode.from_vector(z, tiny_model)).image.equal(wanted)
    mixed = FaceCode.from_vector(z.float(), tiny_model).with_parts(rotation=z[:, 9:12])
    assert renderer(mixed).image.equal(wanted)


def test_a_code_of_another_model_is_refused_where_it_is_drawn(model, tiny_model):
    with pytest.raises(ValueError, match=r"vectors of length 42, got \(1, 257\)"):
        FaceRenderer(tiny_model, 8)(FaceCode.mean(model))


@pytest.fixture(params=[torch.float64, torch.float16])
def other_default(request):
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(torch.float32)


def test_another_default_type_changes_no_picture(cache, monkeypatch, other_default):
    found = RenderedFaces("test", 1, size=8)
    face = found[0]
    torch.set_default_dtype(torch.float32)
    monkeypatch.setenv("MOFA_CACHE", str(cache / "other"))
    wanted = RenderedFaces("test", 1, size=8)
    assert found.images.equal(wanted.images) and face.vertices.equal(wanted[0].vertices)


def test_another_default_type_draws_codes_and_heads(tiny_model, other_default, tmp_path):
    z = torch.zeros(1, 42)
    assert FaceRenderer(tiny_model, 12)(FaceCode.from_vector(z, tiny_model)).mask.any()
    mean, faces, colours = tiny_model.mean_shape, tiny_model.faces, tiny_model.mean_appearance
    assert "srcdoc" in show.head(mean[None], faces, colours[None], "a head").data
    export_head(tmp_path / "head.glb", mean, faces, colours)
    light = torch.zeros(1, 3, 9, dtype=torch.float32)
    assert float(metrics.light_error(light, light)) == 0


# Modes of torch


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_attacks_find_their_gradients_in_any_mode(mofa, images, mode):
    outside = LatentAttack(mofa.encode, CodeDistance(mofa.model), steps=2)(images, images.flip(0))
    signs = fgsm(brightness, images, 0.1)
    with mode():
        own = images.clone()  # an inference tensor there
        attack = LatentAttack(mofa.encode, CodeDistance(mofa.model), steps=2)
        assert attack(own, own.flip(0)).images.equal(outside.images)
        assert fgsm(brightness, own, 0.1).equal(signs)
        assert not torch.is_grad_enabled()


def test_what_is_loaded_in_inference_mode_is_of_use_outside():
    with torch.inference_mode():
        model = load_morphable_model()
        template = five_point_template(77)
    shape = torch.zeros(1, 80, requires_grad=True)
    model.vertices(shape, torch.zeros(1, 64)).square().sum().backward()
    assert shape.grad.any() and not five_point_template(77).is_inference()
    assert template.shape == (5, 2)


# Nothing


def test_no_pictures_have_no_codes(mofa):
    rendering = mofa(torch.zeros(0, 3, 24, 24))
    assert rendering.image.shape == (0, 3, 24, 24) and rendering.landmarks.shape == (0, 68, 2)
    none, mesh = torch.zeros(0, 5, 3), torch.tensor([[0, 1, 2]])
    assert metrics.geometric_error(none, none).shape == (0,)
    assert metrics.normal_error(none, none, mesh).shape == (0, 5)
    assert align_points(torch.zeros(0, 5, 2), 112).shape == (0, 5, 2)


@pytest.mark.parametrize("none", [[], np.zeros(0), torch.zeros(0)])
def test_of_nothing_there_is_no_mean(none):
    for use in (metrics.rate, metrics.mean_interval, lambda v: metrics.auroc(v, [1.0])):
        with pytest.raises(ValueError, match="needs at least one value, got none"):
            use(none)
    with pytest.raises(ValueError, match="A grid needs at least one picture"):
        show.grid({"none": torch.zeros(0, 3, 8, 8)})


# Numbers that are none, or too large

NAN = float("nan")


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda m, v: FaceRenderer(m, 8)(FaceCode.from_vector(v[:, :42], m)), "Codes to draw must"),
        (lambda m, v: calibrate(v[0]), "Calibration scores must be finite"),
        (lambda m, v: flagged({"l1": v[0]}, {"l1": 1.0}), "The scores l1 or their threshold"),
        (lambda m, v: metrics.rate(v[0]), "needs numbers, and some are NaN"),
        (lambda m, v: metrics.mean_interval(v[0]), "needs numbers, and some are NaN"),
        (lambda m, v: metrics.auroc_of_pairs(v[0], v[0]), "needs numbers, and some are NaN"),
        (lambda m, v: calibrate_together({"l1": v[0]}), "Calibration scores l1 must be finite"),
        (lambda m, v: metrics.vertex_errors(v[None, :, :3], v[None, :, :3]), "Points to align"),
        (lambda m, v: show.grid({"a": v.view(1, 3, 8, 8)}), "Colours must be finite"),
        (
            lambda m, v: show.head(v[None, :, :3], m.faces, v[None, :, :3] * 0, "a"),
            "must be finite",
        ),
        (lambda m, v: export_head("no.ply", v[:, :3], m.faces[:0], v[:, :3]), "vertices must be"),
        (lambda m, v: gaussian_noise(v.view(1, 3, 8, 8), 0.1, torch.Generator()), "in .0, 1., got"),
        (lambda m, v: gaussian_noise(torch.zeros(1, 3, 8, 8), NAN, torch.Generator()), "α ≥ 0"),
        (lambda m, v: CodeDistance(m, {"shape": NAN}), "none of them negative"),
        (lambda m, v: Camera(focal=NAN), "a positive focal length and distance"),
        (
            lambda m, v: align_photo(Image.new("RGB", (9, 9)), v[0, :10].view(5, 2), 8),
            "five different points",
        ),
    ],
)
def test_nan_is_named_where_it_comes_in(tiny_model, use, sentence):
    values = torch.zeros(3, 64)
    values[:, ::2] = NAN
    with pytest.raises(ValueError, match=sentence) as error:
        use(tiny_model, values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("epsilon", [8, 1.01, -0.1, NAN])
def test_an_epsilon_in_grey_levels_is_named(mofa, images, epsilon):
    for use in (
        lambda: fgsm(brightness, images, epsilon),
        lambda: random_signs(images, epsilon, torch.Generator()),
        lambda: LatentAttack(mofa.encode, CodeDistance(mofa.model), epsilon),
    ):
        with pytest.raises(ValueError, match="ε (lies in|must not be negative)"):
            use()
    LatentAttack(mofa.encode, CodeDistance(mofa.model), 5, cap=0.02, reading="literal")


# Colours


def test_8_bit_pictures_and_colours_are_shown_as_they_are(tiny_model, tmp_path, images):
    bytes_, floats = (255 * images).byte(), (255 * images).byte() / 255
    shown = show.grid({"bytes": bytes_, "arrays": bytes_.numpy(), "floats": floats})
    pixels = [axis.images[0].get_array() for axis in shown.axes[::2]]
    plt.close(shown)
    assert all(np.array_equal(pixels[2], other) for other in pixels) and pixels[2].max() < 1
    colours = (255 * tiny_model.mean_appearance).byte()
    mesh = tiny_model.mean_shape, tiny_model.faces
    written = []
    for given in (colours, colours / 255, colours.numpy()):
        export_head(tmp_path / "head.glb", *mesh, given)
        written.append((tmp_path / "head.glb").read_bytes())
        written[-1] += show.head(mesh[0][None], mesh[1].numpy(), given[None], "a").data.encode()
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8, 3), (1, 1, 8, 8)])
def test_what_cannot_be_shown_is_named(shape):
    with pytest.raises(ValueError, match=r"The row 'a' needs pictures \(B, 3, H, W\), got one of"):
        show.grid({"a": torch.zeros(shape)})


def test_whole_numbers_of_many_bits_are_no_colours(images):
    with pytest.raises(TypeError, match=r"8-bit numbers as uint8, got torch.int64"):
        show.grid({"a": (255 * images).long()})


# What is handed out


def test_a_changed_result_changes_no_later_one(faces):
    before = five_point_template(64)
    five_point_template(64).mul_(2)
    assert five_point_template(64).equal(before)
    first, again = faces[1], faces[1]
    for field in ("image", "landmarks", "skin", "vertices", "illumination"):
        getattr(first, field).mul_(2)
        assert getattr(faces[1], field).equal(getattr(again, field)), field
    first.attributes.clear()
    assert faces[1].attributes == again.attributes
    faces.batch([0]).zero_()
    assert faces.batch([0]).any()


@pytest.mark.parametrize("given", [{}, {"num_workers": 1}])
def test_torch_s_loader_makes_batches_of_faces(faces, given):
    (batch,) = DataLoader(faces, batch_size=4, **given)
    assert batch.image.equal(faces.batch(slice(None)))
    assert batch.identity.tolist() == faces.identities.tolist()
    assert batch.landmarks.equal(faces.landmarks) and batch.skin.equal(faces.skin(slice(None)))
    assert batch.attributes["years"].shape == (4,)


# Photographs


def squares(kind: str, white: float) -> Image.Image:
    """A quarter of white beside black, in another depth."""
    pixels = np.zeros((218, 178))
    pixels[:109, :89] = white
    return Image.fromarray(pixels.astype(kind))


@pytest.mark.parametrize(
    ("kind", "white"), [("u1", 255), ("u2", 65535), ("i4", 65535), ("i4", 255), ("f4", 1)]
)
def test_deep_grey_photographs_are_as_bright_as_flat_ones(kind, white):
    wanted = align_photo(squares("u1", 128), FACE, 16)
    found = align_photo(squares(kind, white * 128 / 255), FACE, 16)
    torch.testing.assert_close(found, wanted, atol=1.1 / 255, rtol=0)


@pytest.mark.parametrize(
    ("photo", "sentence"),
    [
        (squares("f4", 255), "grey levels go from 0 to 255, but should lie between 0 and 1"),
        (squares("f4", NAN), "grey levels go from"),
        (squares("i4", 1e6), "between 0 and 65535; save the photograph in 8 bits"),
    ],
)
def test_photographs_of_unknown_depth_are_named(photo, sentence):
    with pytest.raises(ValueError, match=sentence):
        align_photo(photo, FACE, 16)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_what_is_transparent_in_a_photograph_is_white(mode):
    """A quarter of grey beside nothing, which is stored as black."""
    photo = squares("u1", 128)
    shown = np.asarray(photo)[..., None] > 0
    if mode.endswith("A"):
        photo.putalpha(photo.point(lambda level: 255 * (level > 0)))
    photo = photo.convert(mode)
    if not mode.endswith("A"):  # one colour stands for nothing
        photo.info["transparency"] = photo.getpixel((100, 200))
    expected = np.where(shown, 128, 255) * np.ones(3)
    np.testing.assert_array_equal(as_rgb(photo), expected)


def test_half_of_a_colour_lies_over_half_of_white():
    photo = Image.new("RGBA", (9, 9), (255, 0, 100, 51))  # a fifth
    assert as_rgb(photo).getpixel((4, 4)) == (255, 204, 224)


def test_an_array_is_no_photograph():
    with pytest.raises(TypeError, match="A photograph is a PIL image, got ndarray"):
        align_photo(np.zeros((9, 9, 3)), FACE, 16)
    with pytest.raises(ValueError, match="five different points"):
        align_photo(Image.new("RGB", (9, 9)), [[3, 3]] * 5, 16)


def table(folder, names):
    numbers = ",".join(str(number) for point in FACE for number in point)
    (folder / "points.csv").write_text("".join(f"{name},{numbers}\n" for name in names), "utf8")


def test_a_deep_photograph_in_a_folder(tmp_path):
    squares("u2", 65535 * 128 / 255).save(tmp_path / "a.png")
    table(tmp_path, ["a.png"])
    assert PhotoFolder(tmp_path, 16).batch(0).mean() < 0.4


def test_a_photograph_too_large_is_named(tmp_path, monkeypatch):
    squares("u1", 128).save(tmp_path / "a.png")
    table(tmp_path, ["a.png"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"a.png has more than .* million pixels, .*; shrink it"):
        PhotoFolder(tmp_path, 16)


def test_broken_exif_names_the_file(tmp_path):
    squares("u1", 128).save(tmp_path / "a.png", exif=b"Exif\0\0no TIFF")
    table(tmp_path, ["a.png"])
    with pytest.raises(ValueError, match=r"a.png: The note of .* \(EXIF\) is broken; save"):
        PhotoFolder(tmp_path, 16)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_with_an_accent_is_one_name(tmp_path, forms):
    on_disk, written = (unicodedata.normalize(form, "Zoé.png") for form in forms)
    squares("u1", 128).save(tmp_path / on_disk)
    table(tmp_path, [written])
    assert len(PhotoFolder(tmp_path, 16)) == 1


def test_photographs_go_through_torch_s_loader(tmp_path):
    for name in ("a.png", "b.png"):
        squares("u1", 128).save(tmp_path / name)
    table(tmp_path, ["a.png", "b.png"])
    data = PhotoFolder(tmp_path, np.int64(16))
    (batch,) = DataLoader(data, batch_size=2)
    assert batch.image.equal(data.batch((0, 1))) and batch.identity.tolist() == [0, 1]
    assert batch.landmarks.equal(data.landmarks)
