"""A data set of images in three disjoint splits, the last of which is read once.

Leaves reading files to the sources, and cutting to `cuts`.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property

from edgenas.data.errors import DataError, FolderLayoutError, SecondTestReadError
from edgenas.data.split import Size, Split


class ImageData:
    """Images to train on, to search on, and to test with at the very end.

    The three splits share no image. `train` fits weights and activation ranges, `search` chooses
    between architectures; the test split reaches nobody before `read_test`, which works once.

    Attributes:
        name: What was loaded, for people.
        classes: Class names; a label is an index into them.
        train: The training split.
        search: The split that architectures are compared on.
        native_size: Side in pixels before resizing, or (height, width); None when files differ.
    """

    def __init__(
        self,
        name: str,
        classes: tuple[str, ...],
        train: Split,
        search: Split,
        read_test: Callable[[], Split],
        native_size: Size | None,
    ) -> None:
        """Put the splits together.

        Args:
            name: What was loaded.
            classes: At least two class names.
            train: Training split.
            search: Search split, of the same shape.
            read_test: Reads the test split from its files.
            native_size: Pixels before resizing.

        Raises:
            FolderLayoutError: Fewer than two classes.
            DataError: Splits that differ in shape, or labels beyond the classes.
        """
        if len(classes) < 2:
            raise FolderLayoutError(
                f"{name}: expected at least 2 classes, got {len(classes)} ({', '.join(classes)}); "
                "a classifier needs something to tell apart"
            )
        self.name, self.classes, self.native_size = name, classes, native_size
        self.train, self.search = train, search
        self._read_test = read_test
        self._test_reads = 0
        for split in (train, search):
            self._check(split)

    @property
    def channels(self) -> int:
        """Channels of an image: 1 for grey, 3 for RGB."""
        return int(self.train.images.shape[3])

    @property
    def size(self) -> Size:
        """Side of the loaded images in pixels; (height, width) where they are not square."""
        height, width = (int(side) for side in self.train.images.shape[1:3])
        return height if height == width else (height, width)

    @property
    def test_reads(self) -> int:
        """How often the test split has been read: 0 or 1."""
        return self._test_reads

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over classes, labels and pixels of what training and search can see.

        The test split is left out, since hashing it would mean reading it.
        """
        digest = hashlib.sha256()
        head = {"classes": self.classes, "size": self.size, "channels": self.channels}
        digest.update(json.dumps(head, sort_keys=True).encode())
        for split in (self.train, self.search):
            digest.update(len(split).to_bytes(8, "little"))
            digest.update(split.labels.astype("<i8").tobytes())
            digest.update(memoryview(split.images.reshape(-1)))
        return digest.hexdigest()

    def read_test(self) -> Split:
        """Read the test split: once, at the end, when nothing can be chosen any more.

        Keep the result if several models are to be scored.

        Raises:
            SecondTestReadError: It has been read before.
            DataError: Its files are missing or damaged; such an attempt does not count.
        """
        if self._test_reads:
            raise SecondTestReadError(
                f"the test split of {self.name} was read before; it is read once, after the last "
                "choice: keep what the first read returned, and compare candidates on `search`"
            )
        split = self._read_test()
        self._check(split)
        self._test_reads += 1
        return split

    def _check(self, split: Split) -> None:
        if split.images.shape[1:] != self.train.images.shape[1:]:
            raise DataError(
                f"{self.name}: expected images {list(self.train.images.shape[1:])} in every split, "
                f"got {list(split.images.shape[1:])}"
            )
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"{self.name}: expected labels 0 to {len(self.classes) - 1}, got {low} to {high}"
            )
