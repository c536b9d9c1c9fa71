"""Photographs: CelebA in a generated copy of the published layout, a folder of one's own, and the
detector.
"""

import csv
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage.transform import SimilarityTransform
from torchvision import datasets

from mofa_lib.alignment import align_photo, five_point_template
from mofa_lib.photographs import PARTITIONS, CelebA, PhotoFolder, find_five_points
from mofa_lib.studio import session as photo_session

SIZE = 32
PEOPLE = {
    0: [7, 3, 9],
    1: [20, 11, 15, 12, 30],
    2: [2, 4],
}  # of each official part; numbers as in the published file
FACE = np.array(
    [[69, 111], [108, 111], [88, 135], [73, 152], [105, 152]]
)  # about where CelebA's points lie


def photograph(rng, points, shape=(218, 178)) -> Image.Image:
    """Coloured noise, coarse enough for JPEG, with a white dot on each point."""
    pixels = ndimage.gaussian_filter(rng.uniform(0, 200, (*shape, 3)), (3, 3, 0))
    y, x = np.indices(shape) + 0.5
    for px, py in points:
        pixels += 255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8)[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def published(tmp_path):
    """Writes a small CelebA: every person twice, the parts mixed; returns its rows (name, part,
    person, points).
    """

    def write(people=PEOPLE, swap=False):
        rng, folder = np.random.default_rng(0), tmp_path / "celeba"
        (folder / "img_align_celeba").mkdir(parents=True)
        order = [(part, person) for part, persons in people.items() for person in 2 * persons]
        rows = []
        for number, chosen in enumerate(rng.permutation(len(order)), 1):
            points = FACE + rng.integers(-4, 5, (5, 2))
            rows.append(
                (f"{number:06}.jpg", *order[chosen], points[[1, 0, 2, 4, 3]] if swap else points)
            )
            photograph(rng, points).save(folder / "img_align_celeba" / rows[-1][0], quality=95)
        names = [row[0] for row in rows]
        places = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
        points = " ".join(f"{place}_{axis}" for place in places for axis in "xy")
        tables = {
            "list_eval_partition": ("", [[row[1]] for row in rows]),
            "identity_CelebA": ("", [[row[2]] for row in rows]),
            "list_attr_celeba": (
                " ".join(f"Attribute_{i}" for i in range(40)),
                rng.choice([-1, 1], (len(rows), 40)),
            ),
            "list_bbox_celeba": (
                "image_id x_1 y_1 width height",
                rng.integers(1, 99, (len(rows), 4)),
            ),
            "list_landmarks_align_celeba": (points, [row[3].ravel() for row in rows]),
        }
        for table, (header, values) in tables.items():
            lines = [f"{len(rows)}", header] if header else []
            lines += [
                f"{name} " + " ".join(f"{v:>2}" for v in line)
                for name, line in zip(names, values, strict=True)
            ]
            (folder / f"{table}.txt").write_text("\n".join(lines) + "\n")
        return rows

    return write


@pytest.fixture
def trusted(monkeypatch):
    """Our copy is not the published one, so its MD5 sums are not looked at."""
    monkeypatch.setattr(datasets.CelebA, "_check_integrity", lambda self: True)
    monkeypatch.setattr(datasets.CelebA, "download", lambda self: pytest.fail("a download"))


# CelebA


def test_the_splits_are_those_of_the_library():
    assert tuple(PARTITIONS) == photo_session.SPLITS


def test_celeba_s_splits_are_the_official_ones_and_share_nobody(published, trusted, tmp_path):
    rows = published()
    person_of = {row[0]: row[2] for row in rows}
    seen = {}
    for split, part in PARTITIONS.items():
        data = CelebA(tmp_path, split, SIZE)
        names = [file.name for file in data.files]
        people = [person_of[name] for name in names]
        assert names == sorted(names) and len(data) == len(names) and data.size == SIZE
        assert set(people) <= set(PEOPLE[part]) and len(names) == 2 * len(set(people))
        assert data.identities.tolist() == [sorted(set(people)).index(person) for person in people]
        seen[split] = set(people)
    assert seen["train"] == {3, 7, 9} and seen["test"] == {2, 4}
    assert seen["validation"] == {11, 15, 30} and seen["calibration"] == {12, 20}


def test_celeba_s_pictures_and_points_are_aligned(published, trusted, tmp_path):
    rows = {row[0]: row[3] for row in published()}
    data = CelebA(tmp_path, "train", 64)
    pictures = data.batch(slice(None))
    assert (
        pictures.shape == (6, 3, 64, 64) and pictures.dtype == data.landmarks.dtype == torch.float32
    )
    assert (255 * pictures - (255 * pictures).round()).abs().max() < 1e-4
    for file, picture, found in zip(data.files, pictures, data.landmarks, strict=True):
        points = rows[file.name].astype(float)
        move = SimilarityTransform.from_estimate(points, five_point_template(64).double().numpy())
        np.testing.assert_allclose(found, move(points), atol=1e-3)
        with Image.open(file) as photo:
            assert picture.equal(align_photo(photo, torch.from_numpy(points), 64))
        for x, y in found.long().tolist():  # the white dots
            assert picture[:, y - 1 : y + 2, x - 1 : x + 2].max() > picture.mean() + 0.3


def test_celeba_without_a_size_has_that_of_the_paper(published, trusted, tmp_path):
    published()
    assert CelebA(str(tmp_path), "test").batch([0]).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    "index", [[1, 3], torch.tensor([1, 3]), slice(1, 4, 2), [], slice(None), [-1]]
)
def test_batches_take_lists_slices_and_tensors(published, trusted, tmp_path, index):
    published()
    data = CelebA(tmp_path, "train", SIZE)
    expected = data.batch(slice(None))[index]
    assert data.batch(index).equal(expected)
    assert data.skin(index).equal(torch.ones(len(expected), SIZE, SIZE))


def test_missing_files_of_celeba_are_named(published, tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"needs img_align_celeba, list_eval_partition.txt, .*celeba, where img",
    ):
        CelebA(tmp_path, "train")
    published()
    (tmp_path / "celeba" / "identity_CelebA.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match="where identity_CelebA.txt is missing; its authors give it out"
    ):
        CelebA(tmp_path, "train")


def test_other_tables_than_the_published_ones_are_refused(published, tmp_path):
    published()
    with pytest.raises(
        ValueError, match="is not the one that CelebA's authors published; copy all of them anew"
    ):
        CelebA(tmp_path, "train")


def test_a_person_in_two_parts_is_refused(published, trusted, tmp_path):
    published({0: [1, 2], 1: [3, 4], 2: [2, 5]})
    with pytest.raises(ValueError, match="must not share a person"):
        CelebA(tmp_path, "train")


def test_exchanged_eyes_are_refused(published, trusted, tmp_path):
    published(swap=True)
    with pytest.raises(ValueError, match="Left and right are exchanged"):
        CelebA(tmp_path, "train")


def test_there_is_no_fifth_split(tmp_path):
    with pytest.raises(
        ValueError, match="no split 'valid': choose one of train, validation, calibration, test"
    ):
        CelebA(tmp_path, "valid")


@pytest.mark.parametrize("damage", ["truncated", "not a picture", "deleted"])
def test_a_damaged_picture_is_named(published, trusted, tmp_path, damage):
    published()
    data = CelebA(tmp_path, "train", SIZE)
    content = data.files[2].read_bytes()
    data.files[2].write_bytes(content[: len(content) // 2] if damage == "truncated" else b"no jpg")
    if damage == "deleted":
        data.files[2].unlink()
    assert data.batch([1]).any()
    with pytest.raises(
        ValueError, match=f"{data.files[2].name} is missing or damaged; copy it anew"
    ):
        data.batch([1, 2])


# A folder of photographs


@pytest.fixture
def album(tmp_path):
    """Three photographs, two of them from a camera that was held upright, and their points."""
    rng, points = np.random.default_rng(1), {}
    for name in ("b.JPG", "a.png", "c.webp"):
        points[name] = 2 * FACE + rng.integers(-4, 5, (5, 2))
        photo = photograph(rng, points[name], (500, 400))
        if name != "c.webp":
            photo = photo.transpose(Image.Transpose.ROTATE_90)
            photo.getexif()[0x0112] = (
                6  # the first row of the file is the right side of the picture
            )
        photo.save(tmp_path / name, lossless=True, exif=photo.getexif())
    (tmp_path / "notes.txt").write_text("not a photograph")
    (tmp_path / "._b.JPG").write_bytes(b"what some systems put beside a file")
    return tmp_path, points


def write_table(path, points, header=True):
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        if header:
            rows.writerow(["file", *(f"{point}_{axis}" for point in range(5) for axis in "xy")])
        rows.writerows([name, *five.ravel()] for name, five in points.items())


@pytest.mark.parametrize("header", [True, False])
def test_a_folder_with_a_table(album, header):
    folder, points = album
    write_table(folder / "points.csv", points, header)
    data = PhotoFolder(folder)
    assert [file.name for file in data.files] == ["a.png", "b.JPG", "c.webp"]
    assert len(data) == 3 and data.identities.tolist() == [0, 1, 2] and data.size == 224
    pictures = data.batch(slice(None))
    assert data.skin([0, 2]).equal(torch.ones(2, 224, 224))
    for name, picture, found in zip(sorted(points), pictures, data.landmarks, strict=True):
        move = SimilarityTransform.from_estimate(
            points[name].astype(float), five_point_template(224).double().numpy()
        )
        np.testing.assert_allclose(found, move(points[name]), atol=1e-3)
        for x, y in found.long().tolist():
            assert picture[:, y - 1 : y + 2, x - 1 : x + 2].max() > picture.mean() + 0.2


def test_another_table(album, tmp_path_factory):
    folder, points = album
    table = tmp_path_factory.mktemp("tables") / "mine.csv"
    with pytest.raises(FileNotFoundError, match="There is no table .*mine.csv"):
        PhotoFolder(folder, points=table)
    write_table(table, points)
    assert len(PhotoFolder(folder, points=table)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("b.JPG"), "one row for each photograph; add one for 'b.JPG'"),
        (
            lambda p: p.update({"d.png": FACE}),
            "one row for each photograph; remove that of 'd.png'",
        ),
        (
            lambda p: p.update({"a.png": FACE[:4]}),
            "needs 11 columns, a file and x, y of five points; a row has 9",
        ),
        (
            lambda p: p.update({"a.png": np.array(10 * ["here"])}),
            "the points of a.png must be numbers",
        ),
        (lambda p: p.update({"a.png": FACE * np.nan}), "the points of a.png must be numbers"),
        (
            lambda p: p.update({"b.JPG": p["b.JPG"][[1, 0, 2, 4, 3]]}),
            "points of b.JPG have left and right exchanged",
        ),
        (
            lambda p: p.update({"b.JPG": p["b.JPG"][[1, 0, 2, 3, 4]]}),
            "points of b.JPG have left and right exchanged",
        ),
        (
            lambda p: p.update({"a.png": p["a.png"] / [400, 500]}),
            "points of a.png seem to be shares of the picture: multiply them",
        ),
        (
            lambda p: p.update({"a.png": p["a.png"] + [300, 0]}),
            "points of a.png lie outside the picture, which has 400 × 500 pixels",
        ),
        (
            lambda p: p.update({"c.webp": p["c.webp"] - [0, 300]}),
            "points of c.webp lie outside the picture",
        ),
        (lambda p: p.update({"a.png": 0 * FACE + 70}), "points of a.png are all the same"),
        (lambda p: p.clear(), "one row for each photograph; add one for 'a.png'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(album, change, message):
    folder, points = album
    change(points)
    write_table(folder / "points.csv", points)
    with pytest.raises(ValueError, match=message):
        PhotoFolder(folder, SIZE)


@pytest.mark.parametrize("angle", [0, 60, 120, 180])
def test_left_is_left_when_the_face_is_upright(tmp_path, angle):
    """However the photograph lies: one order is right, and the other is refused."""
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    template = five_point_template(100).double().numpy()
    points = (template - 50) @ rotation.T + 100
    Image.new("RGB", (200, 200)).save(tmp_path / "a.png")
    write_table(tmp_path / "points.csv", {"a.png": points})
    found = PhotoFolder(tmp_path, 100).landmarks[0]
    np.testing.assert_allclose(found, template, atol=1e-3)
    write_table(tmp_path / "points.csv", {"a.png": points[[1, 0, 2, 4, 3]]})
    sentence = "first comes what is left in the image when the face is upright"
    with pytest.raises(ValueError, match=f"have left and right exchanged: {sentence}"):
        PhotoFolder(tmp_path, 100)


def test_two_rows_for_one_photograph_are_refused(album):
    folder, points = album
    write_table(folder / "points.csv", points)
    with (folder / "points.csv").open("a") as file:
        file.write("a.png" + ",1" * 10)
    with pytest.raises(ValueError, match="remove that of 'a.png'"):
        PhotoFolder(folder, SIZE)


def test_a_folder_must_be_there_and_hold_photographs(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        PhotoFolder(tmp_path / "nowhere")
    with pytest.raises(
        ValueError, match="There is no photograph in .*: put .jpg, .jpeg, .png, .webp files there"
    ):
        PhotoFolder(tmp_path)


def test_tiny_pictures_are_refused(album):
    folder, points = album
    write_table(folder / "points.csv", points)
    with pytest.raises(ValueError, match="size ≥ 8 is needed, got 4"):
        PhotoFolder(folder, 4)


# The detector


def disc(pixels, centre, radius, colour):
    y, x = np.indices(pixels.shape[:2]) + 0.5
    pixels[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = colour


def clown(
    size: tuple[int, int], *faces: tuple[float, float, float]
) -> tuple[Image.Image, list[torch.Tensor]]:
    """Grey discs (x, y, radius) with red eyes, a green nose and blue corners of the mouth; and the
    five points.
    """
    pixels, points = np.zeros((size[1], size[0], 3), np.uint8), []
    for x, y, radius in faces:
        disc(pixels, (x, y), radius, 90)
        five = np.array(
            [[-0.4, -0.3], [0.4, -0.25], [0.1, 0.1], [-0.3, 0.5], [0.35, 0.45]]
        ) * radius + [x, y]
        for point, channel in zip(five, (0, 0, 1, 2, 2), strict=True):
            disc(pixels, point, 0.15 * radius, np.eye(3)[channel] * 255)
        points.append(torch.from_numpy(five).float())
    return Image.fromarray(pixels), points


def see_clowns(pixels: np.ndarray) -> list[SimpleNamespace]:
    """Stands for the real detector: whole numbers, left in the image first."""
    labels, _ = ndimage.label(pixels.max(2) > 50)
    faces = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        points = []
        for channel, half in ((0, 0), (0, 1), (1, None), (2, 0), (2, 1)):
            y, x = np.nonzero((labels == label) & (pixels[..., channel] > pixels.sum(2) * 0.6))
            if half is not None and len(x):
                keep = (x > x.mean()) == half
                x, y = x[keep], y[keep]
            points += [SimpleNamespace(x=int(x.mean()), y=int(y.mean()))] if len(x) else []
        size = {"width": columns.stop - columns.start, "height": rows.stop - rows.start}
        if len(points) == 5:
            faces.append(SimpleNamespace(x=columns.start, y=rows.start, landmarks=points, **size))
    return faces


@pytest.fixture
def clowns(monkeypatch):
    monkeypatch.setitem(sys.modules, "retinaface", SimpleNamespace(detect_faces=see_clowns))


@pytest.mark.parametrize("size", [(300, 200), (1500, 1000)])
def test_the_largest_face_is_taken(clowns, size):
    scale = size[0] / 300
    faces = [(40, 50, 25), (160, 120, 60), (265, 40, 30)]
    photo, points = clown(size, *(tuple(scale * v for v in face) for face in faces))
    found = find_five_points(photo)
    assert (found - points[1]).norm(dim=1).max() < 1.0 * scale


def test_a_face_at_the_border_and_a_grey_photo(clowns):
    photo, (points,) = clown((200, 260), (150, 40, 38))
    assert (find_five_points(photo) - points).norm(dim=1).max() < 1.0
    with pytest.raises(
        ValueError, match="No face was found in the photograph; give its five points instead"
    ):
        find_five_points(Image.new("L", (64, 48), 128))


def test_a_folder_without_a_table(clowns, tmp_path):
    photo, (points,) = clown((200, 240), (90, 120, 70))
    stored = photo.transpose(Image.Transpose.ROTATE_90)
    stored.getexif()[0x0112] = 6
    stored.save(tmp_path / "me.png", exif=stored.getexif())
    data = PhotoFolder(tmp_path, 64)
    assert (data.landmarks[0] - five_point_template(64)).norm(dim=1).max() < 20
    channels = {0: 0, 2: 1, 3: 2}  # left eye red, nose green, left corner blue
    for point, channel in channels.items():
        x, y = data.landmarks[0, point].long().tolist()
        assert data.batch([0])[0, :, y, x].argmax() == channel
    photo.convert("L").save(tmp_path / "nobody.jpg")
    with pytest.raises(
        ValueError, match=r"No face was found in .*nobody.jpg: remove it, or write a table"
    ):
        PhotoFolder(tmp_path)
    (tmp_path / "nobody.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="nobody.jpg is missing or damaged"):
        PhotoFolder(tmp_path)


def test_another_fault_of_the_detector_is_not_said_to_be_a_missing_face(monkeypatch, tmp_path):
    def fail(pixels):
        raise ValueError("the network is broken")

    monkeypatch.setitem(sys.modules, "retinaface", SimpleNamespace(detect_faces=fail))
    Image.new("RGB", (64, 64)).save(tmp_path / "me.png")
    with pytest.raises(ValueError, match="the network is broken"):
        PhotoFolder(tmp_path)


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "retinaface", None)
    with pytest.raises(ImportError, match=r'pip install "mofa_lib\[photos\]"'):
        find_five_points(Image.new("RGB", (64, 64)))


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_real_detector_finds_the_astronaut(scale):
    """Against points set by hand; in percent of the distance between the eyes."""
    pytest.importorskip("retinaface")
    from skimage import data

    by_hand = torch.tensor(
        [[203.3, 102.0], [247.0, 103.3], [223.3, 127.5], [204.2, 140.3], [245.8, 141.3]]
    )
    photo = Image.fromarray(data.astronaut())
    found = find_five_points(photo.resize([round(scale * side) for side in photo.size])) / scale
    away = 100 * (found - by_hand).norm(dim=1) / (by_hand[1] - by_hand[0]).norm()
    assert away.mean() < 5 and away.max() < 8


def test_the_real_detector_sees_nobody_in_a_grey_photo():
    pytest.importorskip("retinaface")
    with pytest.raises(ValueError, match="No face was found"):
        find_five_points(Image.new("RGB", (300, 200), (128, 128, 128)))
