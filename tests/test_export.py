"""Heads in files, read back by trimesh and by a few lines that know only the formats'
specifications.
"""

import json
import struct

import numpy as np
import pytest
import torch
import trimesh

from mofa_lib.export import export_head
from mofa_lib.lighting import decode_srgb, encode_srgb
from mofa_lib.mesh import vertex_normals


@pytest.fixture(params=[".glb", ".obj", ".ply"])
def path(request, tmp_path):
    return tmp_path / "new folder" / f"head{request.param}"


def write(path, model, **changes):
    named = {
        "vertices": model.mean_shape,
        "triangles": model.faces,
        "colours": model.mean_appearance,
        **changes,
    }
    export_head(path, **named)


def read_glb(content: bytes) -> tuple[dict, dict]:
    """The JSON of a binary glTF 2.0, and the arrays of its one mesh: attributes and indices."""
    magic, number, length = struct.unpack_from("<4sII", content)
    size, kind = struct.unpack_from("<I4s", content, 12)
    assert (magic, number, length, kind) == (b"glTF", 2, len(content), b"JSON")
    tree, start = json.loads(content[20 : 20 + size]), 20 + size + 8

    def array(index):
        accessor = tree["accessors"][index]
        view = tree["bufferViews"][accessor["bufferView"]]
        kind = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor["componentType"]]
        wide = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        offset = start + view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        return np.frombuffer(content, kind, accessor["count"] * wide, offset).reshape(-1, wide)

    (part,) = tree["meshes"][0]["primitives"]
    arrays = {name: array(index) for name, index in part["attributes"].items()}
    return tree, {**arrays, "triangles": array(part["indices"]).reshape(-1, 3)}


def test_trimesh_reads_the_same_head(path, tiny_model):
    write(path, tiny_model)
    found = trimesh.load(path, process=False, maintain_order=True)
    metres = path.suffix == ".glb"
    if metres:
        (found,) = found.geometry.values()
    np.testing.assert_allclose(
        found.vertices, tiny_model.mean_shape * (0.001 if metres else 1), rtol=1e-6, atol=1e-7
    )
    np.testing.assert_array_equal(found.faces, tiny_model.faces)
    if metres:
        shown = encode_srgb(np.asarray(found.visual.vertex_attributes["color"], dtype=np.float64))
    else:
        shown = found.visual.vertex_colors[:, :3] / 255
    np.testing.assert_allclose(
        shown, tiny_model.mean_appearance, atol=1e-5 if metres else 0.5 / 255 + 1e-7
    )


def test_a_glb_is_in_metres_and_in_linear_light_and_not_of_metal(tmp_path, tiny_model):
    write(tmp_path / "head.glb", tiny_model)
    tree, found = read_glb((tmp_path / "head.glb").read_bytes())
    assert set(found) == {"POSITION", "NORMAL", "COLOR_0", "triangles"}
    np.testing.assert_allclose(
        np.linalg.norm(found["POSITION"], axis=1), 0.08, rtol=1e-5
    )  # a sphere of 80 mm
    assert found["COLOR_0"].dtype == np.float32
    np.testing.assert_allclose(
        encode_srgb(found["COLOR_0"].astype(float)), tiny_model.mean_appearance, atol=1e-5
    )
    normals = vertex_normals(tiny_model.mean_shape[None], tiny_model.faces)[0]
    np.testing.assert_allclose(found["NORMAL"], normals, atol=1e-5)
    np.testing.assert_array_equal(found["triangles"], tiny_model.faces)
    material = tree["materials"][tree["meshes"][0]["primitives"][0]["material"]]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0


def test_an_obj_is_plain_text_with_a_colour_behind_each_vertex(tmp_path, tiny_model):
    write(tmp_path / "head.OBJ", tiny_model)
    lines = [line.split() for line in (tmp_path / "head.OBJ").read_text().splitlines()]
    table = np.array([line[1:] for line in lines if line[:1] == ["v"]], dtype=float)
    np.testing.assert_allclose(table[:, :3], tiny_model.mean_shape, atol=1e-6)
    np.testing.assert_allclose(table[:, 3:], tiny_model.mean_appearance, atol=0.5 / 255 + 1e-6)
    corners = [
        [int(corner.split("/")[0]) - 1 for corner in line[1:]]
        for line in lines
        if line[:1] == ["f"]
    ]
    np.testing.assert_array_equal(corners, tiny_model.faces)


def test_a_ply_holds_what_its_header_says(tmp_path, tiny_model):
    write(tmp_path / "head.ply", tiny_model)
    header, body = (tmp_path / "head.ply").read_bytes().split(b"end_header\n")
    names, types = [], {"float": "<f4", "uchar": "u1"}
    for line in header.decode().splitlines():
        match line.split():
            case ["property", kind, name]:
                names.append((name, types[kind]))
    vertices = np.frombuffer(body, names, len(tiny_model.mean_shape))
    for axis, name in enumerate("xyz"):
        np.testing.assert_array_equal(vertices[name], tiny_model.mean_shape[:, axis])
    for channel, name in enumerate(("red", "green", "blue")):
        np.testing.assert_allclose(
            vertices[name] / 255, tiny_model.mean_appearance[:, channel], atol=0.5 / 255 + 1e-7
        )
    faces = np.frombuffer(
        body, [("count", "u1"), ("corners", "<i4", 3)], len(tiny_model.faces), vertices.nbytes
    )
    assert set(faces["count"]) == {3} and vertices.nbytes + faces.nbytes == len(body)
    np.testing.assert_array_equal(faces["corners"], tiny_model.faces)


def test_colours_beyond_white_are_white(path, tiny_model):
    write(path, tiny_model, colours=torch.full_like(tiny_model.mean_appearance, 1.5))
    found = trimesh.load(path, process=False)
    if path.suffix == ".glb":
        assert (read_glb(path.read_bytes())[1]["COLOR_0"] == 1).all()
    else:
        assert (found.visual.vertex_colors == 255).all()


def test_what_needs_a_gradient_is_written_as_well(path, tiny_model):
    write(path, tiny_model, vertices=tiny_model.mean_shape.clone().requires_grad_())
    assert path.stat().st_size > 0


@pytest.mark.usefixtures("unchecked")
def test_bad_heads_get_one_clear_sentence(tmp_path, tiny_model):
    path = tmp_path / "head.ply"
    for name in ("head.stl", "head", "glb"):
        with pytest.raises(ValueError, match=rf"ends in \.glb, \.obj, \.ply, .* got .*{name}\.$"):
            write(tmp_path / name, tiny_model)
    with pytest.raises(ValueError, match=r"got \(1, 300, 3\), .*vertices\[0\]"):
        write(path, tiny_model, vertices=tiny_model.mean_shape[None])
    with pytest.raises(ValueError, match=r"and \(299, 3\)"):
        write(path, tiny_model, colours=tiny_model.mean_appearance[1:])
    with pytest.raises(ValueError, match="vertices outside 0 … 299"):
        write(path, tiny_model, triangles=tiny_model.faces + 1)
    assert not list(tmp_path.iterdir())


def test_a_file_is_whole_or_the_old_one(tmp_path, tiny_model, monkeypatch):
    path = tmp_path / "head.ply"
    write(path, tiny_model)
    before = path.read_bytes()
    monkeypatch.setattr(
        "os.replace", lambda *names: (_ for _ in ()).throw(OSError("the disk is full"))
    )
    with pytest.raises(OSError, match="full"):
        write(path, tiny_model, vertices=2 * tiny_model.mean_shape)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_srgb_is_decoded():
    pixels = np.linspace(0, 1, 256)
    np.testing.assert_allclose(encode_srgb(decode_srgb(pixels)), pixels, atol=1e-4)
    np.testing.assert_allclose(
        decode_srgb(pixels), trimesh.visual.color.srgb_to_linear(pixels), atol=1e-6
    )
    assert decode_srgb(np.array(0.5)) == pytest.approx(0.21404, abs=1e-5)  # IEC 61966-2-1
