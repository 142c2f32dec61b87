"""What several tests of the study share: the identity that they open it with."""

from edgenas.search.records import StudyIdentity

IDENTITY = StudyIdentity("c" * 64, "digits", "digits-1797-0", {"search": 3, "train": 1})
