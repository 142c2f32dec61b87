"""Evolving a space for one device: table, limit, evolution over spaces, a space file.

The folder holds `evolve.json` (what is evolved for what), the table's files
(`edgenas.campaign.block_table`), `evolution.json` (what was found and why), `evolution.html` (the
same to look at) and `space.toml`, which `edgenas train --space` takes. Repeating the command goes
on; once all is done it costs seconds.
"""

from __future__ import annotations

import hashlib
import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgenas.campaign.block_meter import BlockMeter
from edgenas.campaign.block_table import BlockTable, Filled, TablePlan
from edgenas.campaign.errors import CampaignError, RunFolderError
from edgenas.campaign.evolution_report import evolution_of
from edgenas.campaign.progress import Progress
from edgenas.campaign.rundir import RunDir, read_json, write_json, write_text
from edgenas.campaign.training import open_run, scorer_of
from edgenas.export.blocks import stage_bytes
from edgenas.export.exporter import Exporter
from edgenas.report.evolution_page import write_evolution_html
from edgenas.search.space_evolution import (
    EvolutionSettings,
    Found,
    best_by_power,
    evolve_spaces,
)
from edgenas.search.space_score import ScoreSettings, SpaceScore, score_space
from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.space.space_file import space_toml
from edgenas.space.superspace import SpaceCode, SuperSpace, super_space_around
from edgenas.train.blockwise import StageTeacher

FORMAT = "edgenas-evolve/1"
_TEACHER_IMAGES = 1024
_TOLD = 10
_TIMES = 3  # that whole networks and their stages are timed


@dataclass(frozen=True)
class EvolvePlan:
    """How a space is evolved.

    Attributes:
        table: how the table is made.
        evolution: how spaces evolve.
        latency_ms: median latency that networks shall have at most; None takes what half of the
            networks of the teacher's own space have.
        power: how much it costs a space to have few networks within the limit.
        wholes: networks of the teacher's space that are timed whole, to learn what sums of stages
            leave out.
        seed: of everything random.
    """

    table: TablePlan = field(default_factory=TablePlan)
    evolution: EvolutionSettings = field(default_factory=EvolutionSettings)
    latency_ms: float | None = None
    power: float = 0.05
    wholes: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Evolved:
    """What came of it.

    Attributes:
        space: the best space found.
        code: its code.
        score: its score.
        own: score of the teacher's own space; None where a form of it was excluded.
        limit_ms: latency that networks should have at most.
        filled: the table.
        path: of the space file.
        page: shows the space before and after, and why.
    """

    space: ArchSpace
    code: SpaceCode
    score: SpaceScore
    own: SpaceScore | None
    limit_ms: float
    filled: Filled
    path: Path
    page: Path


@dataclass(frozen=True)
class Sums:
    """How networks compare with the sums of their stages, each timed alone.

    Attributes:
        fixed_ms: median of what a whole network takes beyond its stages; below 0 where starting a
            file costs more than stem and head.
        off: for each network, by which share sum plus `fixed_ms` misses it.
    """

    fixed_ms: float
    off: tuple[float, ...]


def evolve_space(
    teacher: RunDir,
    out: Path,
    plan: EvolvePlan,
    meter: BlockMeter,
    progress: Progress,
    super_space: SuperSpace | None = None,
) -> Evolved:
    """Find the space of a super-space that suits a device best.

    Args:
        teacher: a trained run; its largest network is imitated, its space is the super-space's
            middle.
        out: folder that everything is kept in.
        plan: how.
        meter: times files on the device.
        progress: is told how it goes.
        super_space: where spaces are from; None takes the one around the teacher's space.

    Raises:
        RunFolderError: the folder belongs to another evolution, or the teacher is not trained.
        CampaignError: the limit cannot be met, or nobody gave one and none can be derived.
        ArchError: no form of a stage can be trusted.
        MeasuringError: the device gives no figures.
    """
    checkpoint, data = open_run(teacher)
    base = checkpoint.space
    super_space = super_space or super_space_around(base)
    _check_same(out, _identity(super_space, checkpoint.digest(), plan, meter))
    progress.note(
        f"super-space around {base.name}: {super_space.size():,} spaces; the teacher is the "
        f"largest network of {teacher.path}"
    )
    net = checkpoint.supernet()
    images, asked = data.train.images, data.search.images
    master = StageTeacher(net, base.largest(), images[:_TEACHER_IMAGES])
    table = BlockTable(out, super_space, master, images, asked, plan.table, meter, progress)
    filled = table.fill()
    exporter = scorer_of(teacher, checkpoint, data).exporter
    sums = _sums(table, exporter, base, plan, progress)
    scoring = _scoring(filled, base, plan, sums)
    progress.phase("evolving spaces", min(plan.evolution.spaces, filled.super_space.size()))
    found = evolve_spaces(
        filled.super_space, filled.table, scoring, plan.evolution, plan.seed,
        lambda count, best: progress.advance(count, f"best score {best.score:.3f}"),
    )  # fmt: skip
    return _written(out, teacher, base, filled, scoring, sums, found, meter)


def _identity(
    super_space: SuperSpace, teacher: str, plan: EvolvePlan, meter: BlockMeter
) -> dict[str, Any]:
    """What must not change while a table is made; limits and evolution may."""
    text = repr(super_space)
    for unsaid in (", bits=(), layer_bits=()", ", bits=()"):  # named as before layers had bits
        text = text.replace(unsaid, "")
    return {
        "format": FORMAT,
        "super_space": hashlib.sha256(text.encode()).hexdigest(),
        "teacher": teacher,
        "device": meter.device,
        "table": asdict(plan.table),
    }


def _check_same(out: Path, identity: dict[str, Any]) -> None:
    card = out / "evolve.json"
    if not card.exists():
        write_json(card, identity)
        return
    old = read_json(card, "edgenas space evolve")
    differing = [name for name, value in identity.items() if old.get(name) != value]
    if differing:
        raise RunFolderError(
            f"{out}: expected the evolution that began there, got another "
            f"{', '.join(differing)} ({ {n: old.get(n) for n in differing} } before); repeat the "
            f"first command's options, or choose another --out"
        )


def _sums(
    table: BlockTable, exporter: Exporter, base: ArchSpace, plan: EvolvePlan, progress: Progress
) -> Sums:
    """Time a few networks whole and stage by stage."""
    rng, full = random.Random(f"wholes/{plan.seed}"), base.resolutions[-1]
    drawn = [base.sample_by_size(rng) for _ in range(max(0, plan.wholes - 1))]
    archs = [base.largest(), *(replace(arch, resolution=full) for arch in drawn)]
    progress.phase("timing whole networks", len(archs))
    pairs = []
    for done, arch in enumerate(archs, 1):
        pairs.append(_whole_and_stages(table, exporter, arch))
        progress.advance(done, f"{pairs[-1][0]:.3g} ms, stages {pairs[-1][1]:.3g} ms")
    fixed = statistics.median(whole - stages for whole, stages in pairs)
    return Sums(fixed, tuple((stages + fixed) / whole - 1 for whole, stages in pairs))


def _whole_and_stages(table: BlockTable, exporter: Exporter, arch: Arch) -> tuple[float, float]:
    subnet = exporter.subnet(arch)
    stages = [table.timed(stage_bytes(subnet, f"s{index}.")) for index in range(len(arch.stages))]
    return table.timed(exporter.export(arch).path.read_bytes()), sum(stages)


def _scoring(filled: Filled, base: ArchSpace, plan: EvolvePlan, sums: Sums) -> ScoreSettings:
    limit = plan.latency_ms
    if limit is None:
        limit = _median_of_own(filled, base, plan, sums)
    scoring = ScoreSettings(limit, sums.fixed_ms, power=plan.power, seed=plan.seed)
    fastest = sums.fixed_ms + sum(
        min(
            row.latency_ms
            for (stage, _), rows in filled.table.items()
            for row in rows
            if stage == i
        )
        for i in range(len(filled.super_space.stages))
    )
    if fastest > limit:
        raise CampaignError(
            f"latency limit: expected at least {fastest:.3g} ms, the fastest network that the "
            f"table's stages make up, got {limit:.3g} ms; give a higher --latency-ms, or evolve "
            f"around a smaller space"
        )
    return scoring


def _median_of_own(filled: Filled, base: ArchSpace, plan: EvolvePlan, sums: Sums) -> float:
    """Median latency of the teacher's space, as the table has it."""
    code = filled.super_space.code_of(base)
    if code is None:
        raise CampaignError(
            "latency limit: expected --latency-ms, got none, and the teacher's own space is no "
            "member of the super-space, or its blocks were excluded, so that none can be derived"
        )
    rng = np.random.default_rng(plan.seed)
    total = np.full(20_000, sums.fixed_ms)
    for index, (stage, one) in enumerate(zip(filled.super_space.stages, code, strict=True)):
        rows = filled.table[index, stage.forms[one.form]]
        known = [row.latency_ms for row in rows if row.width in stage.windows[one.window]]
        total += rng.choice(np.array(known), len(total))
    return float(np.median(total))


def _written(
    out: Path,
    teacher: RunDir,
    base: ArchSpace,
    filled: Filled,
    scoring: ScoreSettings,
    sums: Sums,
    found: Sequence[Found],
    meter: BlockMeter,
) -> Evolved:
    """Keep what was found, for people and for `edgenas train --space`."""
    spaces, best = filled.super_space, found[0]
    own_code = spaces.code_of(base)
    own = None if own_code is None else score_space(spaces, own_code, filled.table, scoring)
    space = spaces.decode(best.code, f"{base.name}-evolved")
    write_json(
        out / "evolution.json",
        {
            "format": FORMAT,
            "device": meter.device,
            "scoring": asdict(scoring),
            "sums_off": list(sums.off),
            "excluded": [fault.describe() for fault in filled.excluded],
            "scored": len(found),
            "own": None if own is None else asdict(own),
            "best": [_told(spaces, one) for one in found[:_TOLD]],
            "best_by_power": _by_power(filled, scoring, found),
        },
    )
    about = (
        f"Evolved around {base.name} for {meter.device}.\n"
        f"Networks within {scoring.limit_ms:.4g} ms: {100 * best.score.share:.1f} %; mean of their "
        f"lowest losses {best.score.loss:.3f}, score {best.score.score:.3f}"
        + ("" if own is None else f" ({base.name}: {own.score:.3f})")
        + ".\nTrain it with: edgenas train --space FILE"
    )
    path = out / "space.toml"
    write_text(path, space_toml(space, about))
    shown = evolution_of(
        (base, space), filled, found, own,
        device=meter.device, teacher=teacher.path.name, scoring=scoring,
    )  # fmt: skip
    page = out / "evolution.html"
    write_evolution_html(shown, page)
    return Evolved(space, best.code, best.score, own, scoring.limit_ms, filled, path, page)


def _told(spaces: SuperSpace, one: Found) -> dict[str, Any]:
    return {"space": spaces.describe(one.code), **asdict(one.score)}


def _by_power(
    filled: Filled, scoring: ScoreSettings, found: Sequence[Found]
) -> dict[str, list[str]]:
    """Whether the choice hangs on how much rarity costs: the best of the best few hundred."""
    some = list(found[:300])
    best = best_by_power(filled.super_space, filled.table, scoring, some, count=_TOLD)
    return {
        str(power): [filled.super_space.describe(code) for code in codes]
        for power, codes in best.items()
    }
