"""What was done to the fleet, by whom and when: each entry holds the digest of the one before.

Pure: how an entry is digested, and whether a sequence of them is unbroken. An entry that was
changed, taken out, put in or moved breaks the chain where that happened. What was cut off the end
leaves an unbroken chain behind: only a digest that was written down elsewhere shows it. Leaves
keeping the entries to `audit_log`.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

BEFORE_THE_FIRST = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action.

    Attributes:
        position: 1, 2, 3, ... without a gap.
        wall_ms: When, in milliseconds since 1970 by the clock of whoever did it.
        who: Person and machine; what a host did by itself begins with "host for".
        action: What was done: two words with a dot between.
        subject: What it was done to: a device, a slot, a deployment.
        detail: What else there is to know, as canonical JSON.
        previous: Digest of the entry before; 64 zeros in the first.
        digest: SHA-256 over all of the above.
    """

    position: int
    wall_ms: int
    who: str
    action: str
    subject: str
    detail: str
    previous: str
    digest: str = ""

    def computed(self) -> str:
        """The digest that belongs to these fields: SHA-256 of their canonical JSON."""
        fields = asdict(self)
        del fields["digest"]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Chain:
    """What a check of the entries has found.

    Attributes:
        length: Sound entries from the first one on.
        head: Digest of the last of them.
        broken_at: Position at which the first broken entry stands or should stand, None for none.
        problem: What is wrong with it.
    """

    length: int
    head: str
    broken_at: int | None = None
    problem: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing is broken."""
        return self.broken_at is None


def check_chain(entries: Iterable[AuditEntry], known: tuple[int, str] | None = None) -> Chain:
    """Follow the chain from its first entry.

    Args:
        entries: All entries, by position.
        known: Position and digest of an entry as it was written down earlier.

    Returns:
        How far the chain is sound, and what is wrong after that.
    """
    length, head = 0, BEFORE_THE_FIRST
    for entry in entries:
        problem = _problem(entry, length + 1, head)
        if not problem and known is not None:
            problem = _unlike(entry, *known)
        if problem:
            return Chain(length, head, length + 1, problem)
        length, head = entry.position, entry.digest
    if known is not None and known[0] > length:
        return Chain(length, head, length + 1, f"expected {known[0]} entries, got {length}")
    return Chain(length, head)


def _unlike(entry: AuditEntry, position: int, digest: str) -> str:
    if (entry.position, entry.digest) == (position, digest) or entry.position != position:
        return ""
    return f"expected digest {digest}, as it was known before, got {entry.digest}"


def _problem(entry: AuditEntry, position: int, previous: str) -> str:
    if entry.position != position:
        return f"expected entry {position} here, got {entry.position}: entries are missing"
    if entry.previous != previous:
        return f"expected the digest {previous} of the entry before, got {entry.previous}"
    if entry.digest != entry.computed():
        return f"expected digest {entry.computed()} for what it says, got {entry.digest}"
    return ""
