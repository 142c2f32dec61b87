"""What every reader of a data set returns, before the search split is cut from it.

Leaves reading to the readers and cutting to `load`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edgenas.data.split import Size, Split


@dataclass(frozen=True)
class Source:
    """A data set as its files hold it.

    Attributes:
        classes: Class names, in label order.
        train: What may be trained on, the search split still in it unless `search` is given.
        search: A search split of the set's own, or None.
        read_test: Reads the test split; what it reads is not in `train`.
        native_size: Side of the stored images in pixels, or (height, width); None when they differ.
        search_fraction: Share of `train` for the search split where the general rule does not fit.
        by_class: Whether the images lie one class after the other; `load` mixes them.
    """

    classes: tuple[str, ...]
    train: Split
    search: Split | None
    read_test: Callable[[], Split]
    native_size: Size | None
    search_fraction: float | None = None
    by_class: bool = False
