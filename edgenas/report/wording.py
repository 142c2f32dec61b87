"""What the report says in words: verdicts, comparisons and tooltips, the same in every writer.

Returns plain text; escaping is `markup`'s and `terminal`'s business.
"""

from __future__ import annotations

from collections import Counter

from edgenas.report import units
from edgenas.report.model import Budget, CandidatePoint, DeviceReport, FailedTrial, Pick, Report
from edgenas.report.training import SupernetSummary


def outside_because(candidate: CandidatePoint, budget: Budget) -> str:
    """Say which limit a candidate breaks; empty for one inside the budget."""
    if candidate.inside_budget:
        return ""
    reasons = []
    slowest = budget.latency_p95_ms
    if slowest is not None and candidate.latency_p95_ms > slowest:
        reasons.append("too slow")
    memory = budget.peak_memory_bytes
    if memory is not None and candidate.peak_memory_bytes > memory:
        reasons.append("too large")
    return ", ".join(reasons) or f"not accepted (verdict {candidate.verdict})"


def candidate_tooltip(candidate: CandidatePoint, budget: Budget) -> str:
    """Describe a candidate in a few lines."""
    low, high = candidate.p50_ci95_ms
    fits = outside_because(candidate, budget) or "inside the budget"
    return "\n".join(
        (
            f"{candidate.label} ({candidate.arch_id})",
            f"accuracy {units.percent(candidate.accuracy_search)} (search split)",
            f"p95 {units.milliseconds(candidate.latency_p95_ms)}, p50 "
            f"{units.milliseconds(candidate.latency_p50_ms)} "
            f"(95 % CI {units.significant(low)} to {units.milliseconds(high)})",
            f"peak memory {units.size(candidate.peak_memory_bytes)}, model "
            f"{units.size(candidate.model_bytes)}, {units.macs(candidate.macs)} MACs",
            f"{candidate.searcher}, verdict {candidate.verdict}, level {candidate.level}"
            f"{candidate.measured_on and f', measured on {candidate.measured_on}'}: {fits}",
        )
    )


def limits(budget: Budget) -> str:
    """Spell the limits of a budget."""
    latency = "p95 not limited"
    if budget.latency_p95_ms is not None:
        latency = f"p95\u00a0≤\u00a0{units.limit_ms(budget.latency_p95_ms)}"
    if budget.peak_memory_bytes is None:
        return f"{latency}, memory not limited"
    return f"{latency}, peak memory\u00a0≤\u00a0{units.size(budget.peak_memory_bytes)}"


def no_pick(device: DeviceReport) -> str:
    """Say why nothing was picked, and how near the candidates came to the limits."""
    candidates = device.candidates
    if not candidates:
        return "No candidate was measured."
    fastest = min(one.latency_p95_ms for one in candidates)
    smallest = min(one.peak_memory_bytes for one in candidates)
    passed = sum(one.inside_budget for one in candidates)
    fit = f"{passed} of {units.plural(len(candidates), 'measured candidate')} met the budget"
    again = ", but none of them when measured again" if passed else ""
    return (
        f"{fit}{again}. The fastest has a p95 of {units.milliseconds(fastest)}, the lightest a "
        f"peak memory of {units.size(smallest)}."
    )


def shipping(device: DeviceReport) -> tuple[str, str]:
    """Return how shipping ended as (kind, text); the kind is `good`, `bad` or `none`."""
    if device.pick is None:
        return "bad", "nothing shipped"
    if device.shipped is None:
        return "none", "not shipped"
    shipped = device.shipped
    release = f"release {shipped.version}: {shipped.outcome}"
    if shipped.confirmed_sha256 is None:
        return "none", f"{release}, not confirmed by the device"
    if shipped.confirmed_sha256 != device.pick.sha256:
        return (
            "bad",
            f"{release}, but the device runs {units.short_digest(shipped.confirmed_sha256)}",
        )
    return "good", f"{release}, device confirms {units.short_digest(shipped.confirmed_sha256)}"


def against_random(device: DeviceReport) -> str:
    """Compare the pick with random search alone; empty where there is nothing to compare."""
    pick, baseline = device.pick, device.random_baseline
    if pick is None or baseline is None:
        return ""
    others = f"the best of {units.plural(baseline.evaluations, 'random candidate')}"
    if baseline.arch_id == pick.arch_id:
        return f"the same as {others}"
    gain = units.points(pick.accuracy_search - baseline.accuracy_search)
    return f"{gain} against {others}"


def quantisation_gap(pick: Pick) -> str:
    """Compare the network as trained with the bytes that were shipped."""
    gap = pick.bytes_accuracy_test - pick.fake_quant_accuracy_test
    return f"as trained {units.percent(pick.fake_quant_accuracy_test)} ({units.points(gap)})"


def failed_by_code(trials: tuple[FailedTrial, ...]) -> str:
    """Count failed trials by their code, the most frequent first."""
    counted = Counter(trial.code for trial in trials).most_common()
    return ", ".join(f"{number} × {code}" for code, number in counted)


def space_named(supernet: SupernetSummary) -> str:
    """Which space was trained, at the beginning of a sentence."""
    if not supernet.preset:
        return f"Space {supernet.space}, from a file"
    return f"Preset {supernet.preset}, space {supernet.space}"


def summary(report: Report) -> str:
    """Say in one sentence what was trained, measured and shipped."""
    measured = sum(len(device.candidates) for device in report.devices)
    confirmed = sum(shipping(device)[0] == "good" for device in report.devices)
    supernet = report.supernet
    return (
        f"One INT8 supernet ({supernet.preset or supernet.space}, "
        f"{units.count(supernet.subnets)} subnets) trained on {report.data.name} in "
        f"{units.duration(supernet.training.seconds)}; "
        f"{units.plural(measured, 'candidate')} measured on "
        f"{units.plural(len(report.devices), 'device')}; "
        f"{confirmed} of {len(report.devices)} confirmed running."
    )
