"""What the loop tells a sampler: of what it drew, and what the judge would say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgenas.space.arch import Arch
from edgenas.train.samplers import SAMPLERS, Draw, Judge, Sampler, Setting
from tests.edgenas.train.runs import RECIPE, SPACE, run


class _Comparing(Sampler):
    """The sandwich, with the judge's word on each subnet beside what is told afterwards."""

    def __init__(self, inner: Sampler, judge: Judge) -> None:
        self._inner, self._judge = inner, judge
        self._judged: dict[Arch, float] = {}
        self.pairs: list[tuple[float, float]] = []

    def draw(self, step: int) -> Sequence[Draw]:
        draws = self._inner.draw(step)
        self._judged = {draw.arch: self._judge.loss(draw.arch) for draw in draws}
        return draws

    def subnets(self, step: int) -> int:
        return self._inner.subnets(step)

    def least(self, step: int) -> Arch:
        return self._inner.least(step)

    def tell(self, step: int, arch: Arch, loss: float, norms: Mapping[str, float]) -> None:
        self.pairs.append((loss, self._judged[arch]))


def test_a_told_loss_is_the_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[_Comparing] = []
    sandwich = SAMPLERS["sandwich"]

    def comparing(setting: Setting) -> Sampler:
        made.append(_Comparing(sandwich(setting), setting.judged("comparing")))
        return made[-1]

    monkeypatch.setitem(SAMPLERS, "sandwich", comparing)
    run(tmp_path, RECIPE.override(epochs=0.5))  # 4 steps, smoothed labels, largest teaches
    told, judged = zip(*max(made, key=lambda one: len(one.pairs)).pairs, strict=True)
    assert len(told) == 12
    assert told == pytest.approx(judged, rel=0.03)  # ranges move a little between subnets


def test_a_bank_holds_subnets_of_a_space_that_chooses_bits(tmp_path: Path) -> None:
    stages = tuple(replace(stage, bits=(4, 8)) for stage in SPACE.stages)
    space = replace(SPACE, name="tiny, mixed bits", stages=stages, bits=(4, 8))
    recipe = RECIPE.override(epochs=1, sampler="elasticvit", weights="double_rounding")
    good = run(tmp_path, recipe, space=space).memory["sampler"]["good"]
    banked = [Arch.from_dict(arch) for bank in good.values() for arch, _ in bank]
    assert banked
    for arch in banked:
        space.check(arch)
    assert space.smallest() not in banked  # a companion, which is drawn in every step anyway
