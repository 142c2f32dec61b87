"""Image data for training, searching and the one final test.

`load_data` reads a known set or a folder of images into three disjoint splits. Leaves batches,
augmentation and normalisation to the training side, and never downloads anything.
"""

from edgenas.data.errors import (
    DamagedFileError,
    DataError,
    DataNotFoundError,
    DataSettingError,
    FolderLayoutError,
    SecondTestReadError,
    TooFewImagesError,
    UnreadableImageError,
)
from edgenas.data.image_data import ImageData
from edgenas.data.load import NAMES, load_data
from edgenas.data.split import Split

__all__ = [
    "NAMES",
    "DamagedFileError",
    "DataError",
    "DataNotFoundError",
    "DataSettingError",
    "FolderLayoutError",
    "ImageData",
    "SecondTestReadError",
    "Split",
    "TooFewImagesError",
    "UnreadableImageError",
    "load_data",
]
