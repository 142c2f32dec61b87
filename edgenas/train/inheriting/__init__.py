"""Where a run's first weights come from: another run's checkpoint, or a plain float model.

`read_source` reads a file, `inherit` puts its weights into a supernet whose largest subnet then
computes what the source computed. Training goes on from there as from any other beginning.
"""

from edgenas.train.inheriting.errors import InheritanceError, MismatchError, SourceError
from edgenas.train.inheriting.inherit import Inherited, cropped, inherit
from edgenas.train.inheriting.names import read_names
from edgenas.train.inheriting.source import Source, read_source

__all__ = [
    "InheritanceError",
    "Inherited",
    "MismatchError",
    "Source",
    "SourceError",
    "cropped",
    "inherit",
    "read_names",
    "read_source",
]
