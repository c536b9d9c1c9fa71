"""Reading face models from files. So far: the library's own format."""

from pathlib import Path

import torch

from mofa_lib.artifacts import SHIPPED, load_tensors
from mofa_lib.morphable import MorphableModel

DEFAULT_MODEL = SHIPPED / "models" / "anny_face.safetensors"


def load_morphable_model(source: str | Path = "anny") -> MorphableModel:
    """A face model by name or from a file.

    Args:
        source: "anny", the open model that comes with the library, or the path of a `.safetensors` model.
    Raises:
        FileNotFoundError: there is no such name or file.
        ValueError: the file is damaged or holds something else.
    """
    path = DEFAULT_MODEL if str(source) == "anny" else Path(source)
    if not path.is_file():
        raise FileNotFoundError(f'There is no face model {source}: give "anny" or the path of a .safetensors model.')
    tensors, metadata = load_tensors(path)
    floats = {key: value.float() if value.is_floating_point() else value.long() for key, value in tensors.items()}
    return MorphableModel({k: torch.as_tensor(v) for k, v in floats.items()}, metadata.get("name", path.stem))
