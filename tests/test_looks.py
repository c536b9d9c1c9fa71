"""The files of people: what is packed in them, and where it comes from."""

import io

import numpy as np
import torch
from PIL import Image

from mofa_lib.artifacts import load_tensors
from mofa_lib.model_files import DEFAULT_MODEL
from mofa_lib.studio.heads import HEADS
from mofa_lib.studio.looks import LOOKS, packed, unpacked


def test_pictures_in_the_file_of_looks_come_back():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    expected = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    assert unpacked(packed(pixels)).equal(expected)
    assert Image.open(io.BytesIO(packed(pixels[..., 0]).numpy().tobytes())).mode == "L"


def test_the_files_say_where_they_come_from_and_are_small():
    for path in (HEADS, LOOKS, DEFAULT_MODEL):
        _, about = load_tensors(path)
        assert about["command"].startswith("python -m mofa_lib.studio.")
        assert path.stat().st_size < 10e6
    for path in (HEADS, LOOKS):
        assert "CC0" in load_tensors(path)[1]["source"]
