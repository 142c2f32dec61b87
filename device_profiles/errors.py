"""What can be wrong with board profiles, each with what to do about it.

Leaves finding it out to `reader` (one file) and `loader` (many, and boards).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ProfileError(Exception):
    """A board profile cannot be used.

    ├── ProfileInvalidError  a file is not a profile
    ├── ProfileUnknownError  no profile has that name, or matches that board
    ├── ProfileTieError      several profiles match a board equally well
    └── ProfileUnfitError    a profile asks for what the board does not have
    """


class ProfileInvalidError(ProfileError):
    """A TOML file does not hold a profile; ``path`` says which, the message where and why."""

    def __init__(
        self, path: Path, where: str, expected: str, got: object, advice: str = "correct the file"
    ) -> None:
        super().__init__(f"{path}: {where}: expected {expected}, got {got!r}; {advice}")
        self.path = path
        self.where = where


class ProfileUnknownError(ProfileError):
    """No profile has the name asked for, or matches the board."""

    def __init__(self, wanted: str, known: Sequence[str]) -> None:
        super().__init__(
            f"expected a profile for {wanted}, known are: {', '.join(known) or 'none'}; "
            "name one of them or add a TOML file"
        )


class ProfileTieError(ProfileError):
    """Several profiles match on equally many keys."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"expected one most specific profile, got {' and '.join(names)}; "
            "add a match key to one of them or name the profile at enrolment"
        )
        self.names = tuple(names)


class ProfileUnfitError(ProfileError):
    """A profile pins to processors that the board does not have, or not in one cluster."""

    def __init__(self, name: str, expected: str, got: str, advice: str) -> None:
        super().__init__(f"profile {name}: expected {expected}, got {got}; {advice}")
