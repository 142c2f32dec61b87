"""Picks devices of a fleet by what they are and how they are labelled: a small language.

A selector is a list of terms, all of which must hold:

====================  ==========================================================================
``*``                 every device
``pi4-*``             an id; ``*``, ``?`` and ``[...]`` stand for characters
``tag:lab``           it has the tag (globs as well)
``group:kiosks``      the selector that was saved under this name picks it
``profile=pi4,pi5``   a fact is one of these (globs as well, case does not matter)
``os!=debian*``       a fact is none of these
``memory>=1GiB``      a size is at least this; also ``<=``, ``<``, ``>``
``!TERM``             TERM does not hold (``!!TERM``: it does)
====================  ==========================================================================

Text may be quoted as for a shell. Facts that a device has not told are unlike everything, and no
size. Pure: leaves where tags and groups are kept to `label_log`.
"""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial

from edgenas.fleet.device_view import DeviceView
from edgenas.fleet.errors import FleetError
from edgenas.fleet.profiles import UNKNOWN, Profiles, profile_of
from firmware_bridge.wire.values import check_name

TERMS_CAP, NESTING_CAP, TEXT_CAP = 64, 8, 2000

_UNITS = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_COMPARISON = re.compile(r"([a-z_]+)(>=|<=|!=|=|<|>)(.*)", re.DOTALL)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_ORDERS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip

Test = Callable[[DeviceView], bool]


class SelectorError(FleetError):
    """A selector that cannot be read; the text names the term and what would be one."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What people have called devices.

    Attributes:
        tags: Device id to its tags.
        groups: Name of a group to its selector.
    """

    tags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def of(self, device_id: str) -> frozenset[str]:
        """The tags of a device."""
        return self.tags.get(device_id, frozenset())


NO_LABELS = Labels()


def select(
    text: str,
    views: Iterable[DeviceView],
    labels: Labels = NO_LABELS,
    profiles: Profiles | None = None,
) -> list[DeviceView]:
    """The devices that a selector picks, in the order in which they come.

    Args:
        text: The selector.
        views: Devices to pick from.
        labels: Tags and groups.
        profiles: Board profiles that facts are matched against; None takes the built-in ones.

    Raises:
        SelectorError: It cannot be read, or names a group that is not there.
    """
    test = matcher(text, labels, profiles)
    return [view for view in views if test(view)]


def matcher(text: str, labels: Labels = NO_LABELS, profiles: Profiles | None = None) -> Test:
    """The selector as a function that says whether it picks a device; see `select`.

    Raises:
        SelectorError: It cannot be read, or names a group that is not there.
    """
    return _Reader(labels, profiles).read(text)


def check_selector(text: str, labels: Labels = NO_LABELS) -> str:
    """Return a selector if it can be read.

    Raises:
        SelectorError: It cannot.
    """
    _Reader(labels, None).read(text)
    return text


def check_tag(text: str) -> str:
    """Return a tag if it is one: 1 to 40 of a-z, 0-9, ``_``, ``.``, ``-``.

    Raises:
        InvalidValueError: It is none.
    """
    return check_name(text, "tag")


@dataclass(frozen=True, slots=True)
class _Reader:
    labels: Labels
    profiles: Profiles | None
    within: Sequence[str] = ()

    def read(self, text: str) -> Test:
        words = _words(text)
        tests = [self._term(word) for word in words]
        return lambda view: all(test(view) for test in tests)

    def _term(self, word: str) -> Test:
        plain = word.lstrip("!") or word[-1:]
        inner = self._plain(plain)
        denied = (len(word) - len(plain)) % 2
        return (lambda view: not inner(view)) if denied else inner

    def _plain(self, word: str) -> Test:
        if word.startswith("tag:"):
            pattern = _named(word, "tag:")
            return lambda v: any(fnmatchcase(tag, pattern) for tag in self.labels.of(v.device_id))
        if word.startswith("group:"):
            return self._group(_named(word, "group:"))
        compared = _COMPARISON.fullmatch(word)
        if compared:
            return self._comparison(word, *compared.groups())
        if re.fullmatch(r"[a-z0-9*?\[\]!-]+", word):
            return lambda view: fnmatchcase(view.device_id, word)
        raise SelectorError(
            f"expected a term such as tag:lab, profile=pi4, memory>=1GiB, group:NAME or a device "
            f"id, got {word!r}"
        )

    def _group(self, name: str) -> Test:
        if name not in self.labels.groups:
            known = ", ".join(sorted(self.labels.groups)) or "none yet"
            raise SelectorError(f"group:{name}: expected one of the groups ({known})")
        if name in self.within or len(self.within) >= NESTING_CAP:
            way = " -> ".join((*self.within, name))
            raise SelectorError(f"expected groups that do not contain themselves, got {way}")
        inner = _Reader(self.labels, self.profiles, (*self.within, name))
        return inner.read(self.labels.groups[name])

    def _comparison(self, word: str, name: str, sign: str, text: str) -> Test:
        if not text:
            raise SelectorError(f"{word}: expected a value after {sign}")
        if name in _SIZES:
            return _sized(word, _SIZES[name], sign, text)
        read = (
            partial(profile_of, profiles=self.profiles) if name == "profile" else _TEXTS.get(name)
        )
        if read is None:
            known = ", ".join(sorted((*_TEXTS, *_SIZES, "profile")))
            raise SelectorError(f"{word}: expected one of the facts {known}, got {name!r}")
        if sign not in ("=", "!="):
            raise SelectorError(f"{word}: expected = or != for {name}, got {sign}")
        patterns = [part.casefold() for part in text.split(",")]
        return partial(_is_one_of if sign == "=" else _is_none_of, read, patterns)


def _words(text: str) -> list[str]:
    if len(text) > TEXT_CAP:
        raise SelectorError(f"expected a selector of at most {TEXT_CAP} characters")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SelectorError(f"{text!r}: expected quotes that end, got: {error}") from error
    if not words:
        raise SelectorError("expected a selector, got nothing; * picks every device")
    if len(words) > TERMS_CAP:
        raise SelectorError(f"expected at most {TERMS_CAP} terms, got {len(words)}")
    return words


def _named(word: str, prefix: str) -> str:
    name = word[len(prefix) :]
    if not name:
        raise SelectorError(f"{word}: expected a name after {prefix}")
    return name


def _sized(word: str, read: Callable[[DeviceView], int | None], sign: str, text: str) -> Test:
    wanted = _size(word, text)
    if sign in ("=", "!="):
        return lambda view: (read(view) == wanted) is (sign == "=")
    order = _ORDERS[sign]

    def test(view: DeviceView) -> bool:
        found = read(view)
        return found is not None and order(found, wanted)

    return test


def _size(word: str, text: str) -> float:
    found = _SIZE.fullmatch(text.casefold())
    if found is None or found.group(2) not in _UNITS:
        raise SelectorError(f"{word}: expected a size such as 512MiB or 2GiB, got {text!r}")
    return float(found.group(1)) * _UNITS[found.group(2)]


def _is_one_of(
    read: Callable[[DeviceView], str | None], patterns: Sequence[str], view: DeviceView
) -> bool:
    found = read(view)
    if found is None or found == UNKNOWN:
        return False
    folded = found.casefold()
    ways = (folded, folded.partition(" ")[0])  # "ai-edge-litert" for "ai-edge-litert 2.1.2" as well
    return any(fnmatchcase(way, pattern) for way in ways for pattern in patterns)


def _is_none_of(
    read: Callable[[DeviceView], str | None], patterns: Sequence[str], view: DeviceView
) -> bool:
    return not _is_one_of(read, patterns, view)


def _fact(name: str, view: DeviceView) -> str | None:
    value = None if view.facts is None else view.facts.fingerprint.get(name)
    return None if value is None else str(value)


def _yes_or_no(name: str, view: DeviceView) -> str | None:
    if view.facts is None:
        return None
    return "yes" if getattr(view.facts, name) else "no"


_TEXTS: Mapping[str, Callable[[DeviceView], str | None]] = {
    "id": lambda view: view.device_id,
    **{
        name: partial(_fact, name)
        for name in ("board", "soc", "arch", "cpu", "os", "kernel", "runtime", "governor")
    },
    "measures": partial(_yes_or_no, "measure"),
    "verifies": partial(_yes_or_no, "can_verify"),
}
_SIZES: Mapping[str, Callable[[DeviceView], int | None]] = {
    "memory": lambda view: None if view.facts is None else view.facts.ram_bytes,
    "disk": lambda view: None if view.facts is None else view.facts.disk_free_bytes,
}
