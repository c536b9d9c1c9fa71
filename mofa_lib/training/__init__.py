"""Training of everything that has weights. Derived in chapter 6.

python -m mofa_lib.training --what mofa --profile cpu
python -m mofa_lib.training --what mofa --profile paper --model model2017.h5 --celeba FOLDER
python -m mofa_lib.training --what mofa --profile cpu --photos FOLDER --further
accelerate launch -m mofa_lib.training --what mofa --profile gpu
"""

from mofa_lib.training.command import main
from mofa_lib.training.loop import train

__all__ = ["main", "train"]
