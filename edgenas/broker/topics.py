"""Topic names, topic filters and the tree both are kept in (MQTT 5 section 4.7).

The same tree answers both questions of a broker: which stored filters match a topic, and which
stored topics a filter matches. What is stored is left to `router`.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

MAX_LEVELS = 128
_MAX_BYTES = 65_535

T = TypeVar("T")


def topic_problem(topic: str) -> str | None:
    """Returns why `topic` cannot be published to, or None when it can."""
    if "+" in topic or "#" in topic:
        return "expected a topic without wildcards"
    return _length_problem(topic)


def filter_problem(topic_filter: str) -> str | None:
    """Returns why `topic_filter` cannot be subscribed to, or None when it can."""
    levels = topic_filter.split("/")
    if any("#" in level and level != "#" for level in levels) or "#" in levels[:-1]:
        return "expected # alone and last"
    if any("+" in level and level != "+" for level in levels):
        return "expected + alone in its level"
    return _length_problem(topic_filter)


def _length_problem(text: str) -> str | None:
    if not text:
        return "expected at least one character"
    if text.count("/") >= MAX_LEVELS:
        return f"expected at most {MAX_LEVELS} levels"
    if len(text.encode()) > _MAX_BYTES:
        return f"expected at most {_MAX_BYTES} bytes"
    return None


class _Node(Generic[T]):
    """One level: the value stored here and the levels below."""

    __slots__ = ("below", "value")

    def __init__(self) -> None:
        self.below: dict[str, _Node[T]] = {}
        self.value: T | None = None


class TopicTree(Generic[T]):
    """A map from topics or filters to values, searchable with wildcards from either side."""

    def __init__(self) -> None:
        """Starts empty."""
        self._root: _Node[T] = _Node()

    def get(self, key: str) -> T | None:
        """Returns the value stored under exactly `key`."""
        node = self._root
        for level in key.split("/"):
            below = node.below.get(level)
            if below is None:
                return None
            node = below
        return node.value

    def put(self, key: str, value: T) -> None:
        """Stores `value` under `key`, replacing what was there."""
        node = self._root
        for level in key.split("/"):
            below = node.below.get(level)
            if below is None:
                below = node.below[level] = _Node()
            node = below
        node.value = value

    def remove(self, key: str) -> None:
        """Forgets `key` and the branches only it needed."""
        path = [(self._root, "")]
        node = self._root
        for level in key.split("/"):
            below = node.below.get(level)
            if below is None:
                return
            path.append((node, level))
            node = below
        node.value = None
        for parent, level in reversed(path[1:]):
            child = parent.below[level]
            if child.below or child.value is not None:
                return
            del parent.below[level]

    def filters_matching(self, topic: str) -> Iterator[T]:
        """Yields the values of stored filters that match `topic`."""
        frontier = [self._root]
        for depth, level in enumerate(topic.split("/")):
            system = depth == 0 and level.startswith("$")
            following: list[_Node[T]] = []
            for node in frontier:
                below = node.below
                if not below:
                    continue
                if (exact := below.get(level)) is not None:
                    following.append(exact)
                if system:
                    continue
                if (plus := below.get("+")) is not None:
                    following.append(plus)
                if (rest := below.get("#")) is not None and rest.value is not None:
                    yield rest.value
            frontier = following
        for node in frontier:
            if node.value is not None:
                yield node.value
            if (rest := node.below.get("#")) is not None and rest.value is not None:
                yield rest.value

    def topics_matched(self, topic_filter: str) -> Iterator[T]:
        """Yields the values of stored topics that `topic_filter` matches."""
        frontier = [self._root]
        for depth, level in enumerate(topic_filter.split("/")):
            if level == "#":
                yield from self._below(frontier, include_self=depth > 0)
                return
            if level == "+":
                frontier = [n for node in frontier for n in self._children(node)]
            else:
                found = (node.below.get(level) for node in frontier)
                frontier = [node for node in found if node is not None]
        yield from (node.value for node in frontier if node.value is not None)

    def _children(self, node: _Node[T]) -> list[_Node[T]]:
        """Returns the levels a wildcard sees below `node`: at the top, none that begins with $."""
        if node is self._root:
            return [below for level, below in node.below.items() if not level.startswith("$")]
        return list(node.below.values())

    def _below(self, frontier: list[_Node[T]], *, include_self: bool) -> Iterator[T]:
        """Yields every value in and under `frontier`; # also matches its own parent level."""
        waiting = list(frontier)
        if not include_self:
            waiting = [below for node in frontier for below in self._children(node)]
        while waiting:
            node = waiting.pop()
            if node.value is not None:
                yield node.value
            waiting.extend(self._children(node))
