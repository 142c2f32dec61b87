"""Topic names, filters and the tree, against a rule written the plain way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenas.broker.topics import (
    MAX_LEVELS,
    TopicTree,
    filter_problem,
    topic_problem,
)

unhurried = settings(deadline=None, database=None)  # no clock, no files
topics = st.lists(st.sampled_from(["a", "b", "", "$s"]), min_size=1, max_size=4).map("/".join)
filters = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(st.sampled_from(["a", "b", "", "$s", "+"]), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
) | st.just("#")


def _plainly(topic_filter: str, topic: str) -> bool:
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[0] in ("+", "#") and levels[0].startswith("$"):
        return False
    if wanted[-1] == "#":
        head = wanted[:-1]
        if len(levels) < len(head):
            return False
        levels, wanted = levels[: len(head)], head
    return len(wanted) == len(levels) and all(
        w in ("+", level) for w, level in zip(wanted, levels, strict=True)
    )


@unhurried
@given(st.lists(filters, max_size=8), topics)
def test_stored_filters_that_match_a_topic(stored: list[str], topic: str) -> None:
    tree: TopicTree[str] = TopicTree()
    for topic_filter in stored:
        tree.put(topic_filter, topic_filter)
    expected = sorted(f for f in set(stored) if _plainly(f, topic))
    assert sorted(tree.filters_matching(topic)) == expected


@unhurried
@given(st.lists(topics, max_size=8), filters)
def test_stored_topics_that_a_filter_matches(stored: list[str], topic_filter: str) -> None:
    tree: TopicTree[str] = TopicTree()
    for topic in stored:
        tree.put(topic, topic)
    expected = sorted(t for t in set(stored) if _plainly(topic_filter, t))
    assert sorted(tree.topics_matched(topic_filter)) == expected


@unhurried
@given(st.lists(st.tuples(st.booleans(), filters), max_size=12))
def test_tree_remembers_and_forgets_like_a_dict(steps: list[tuple[bool, str]]) -> None:
    tree: TopicTree[int] = TopicTree()
    twin: dict[str, int] = {}
    for number, (put, key) in enumerate(steps):
        if put:
            tree.put(key, number)
            twin[key] = number
        else:
            tree.remove(key)
            twin.pop(key, None)
        assert all(tree.get(k) == twin.get(k) for _, k in steps)
    for key in twin:
        tree.remove(key)
    assert not tree._root.below


@pytest.mark.parametrize("topic", ["a", "/", "a//b", "$SYS/x", " "])
def test_topics_that_can_be_published_to(topic: str) -> None:
    assert topic_problem(topic) is None


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a+b", "/" * MAX_LEVELS, "x" * 65_536])
def test_topics_that_cannot(topic: str) -> None:
    assert topic_problem(topic)


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/+/b/#", "+/+", "/", "$share/g/a"])
def test_filters_that_can_be_subscribed_to(topic_filter: str) -> None:
    assert filter_problem(topic_filter) is None


@pytest.mark.parametrize("topic_filter", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "/" * MAX_LEVELS])
def test_filters_that_cannot(topic_filter: str) -> None:
    assert filter_problem(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [("a/#", "a", True), ("+/a", "/a", True), ("#", "$x", False), ("$x/+", "$x/y", True)],
)
def test_tricky_pairs(topic_filter: str, topic: str, expected: bool) -> None:
    stored_filters: TopicTree[bool] = TopicTree()
    stored_filters.put(topic_filter, True)
    stored_topics: TopicTree[bool] = TopicTree()
    stored_topics.put(topic, True)
    assert any(stored_filters.filters_matching(topic)) is expected
    assert any(stored_topics.topics_matched(topic_filter)) is expected
