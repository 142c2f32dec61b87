"""One noun, one home: no two classes of the package share a name."""

import ast
from collections import Counter

from tests.import_graph import modules


def test_no_two_classes_share_a_name() -> None:
    names = Counter(
        node.name
        for module, path in modules().items()
        if module.startswith("edgenas.train")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert names["Teacher"] == names["Lesson"] == 1
    assert [name for name, count in names.items() if count > 1] == []
