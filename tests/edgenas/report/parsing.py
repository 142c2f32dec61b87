"""Reads pages and plots back, strictly, so that tests look at elements and not at strings."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree as ET

_VOID = frozenset({"meta", "br", "hr"})
SVG = "{http://www.w3.org/2000/svg}"


class PageReader(HTMLParser):
    """Collects tags, attributes and text of a page; refuses tags that do not match."""

    def __init__(self) -> None:
        """Start with nothing read."""
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag and its attributes."""
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Refuse an end that does not close the innermost element."""
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text.append(data)

    def close(self) -> None:
        """Refuse elements that were never closed."""
        super().close()
        assert self._open == []


def read_page(page: str) -> PageReader:
    """Read a whole page."""
    reader = PageReader()
    reader.feed(page)
    reader.close()
    return reader


def read_svg(drawn: str) -> ET.Element:
    """Read a plot as XML."""
    return ET.fromstring(drawn)


def of_class(root: ET.Element, *names: str) -> list[ET.Element]:
    """Return the elements that have all of the classes."""
    return [one for one in root.iter() if set(names) <= set(one.get("class", "").split())]
