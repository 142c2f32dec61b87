"""The sections of the page: headline cards, devices, training, time, failures and provenance.

Arranges what `plots`, `curve`, `blocks` and `tables` draw; the document around the sections is
`page`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgenas.report import plots, search_plots, units
from edgenas.report.blocks import draw_arch
from edgenas.report.curve import (
    CURVE_NARROW,
    CURVE_WIDE,
    ends_are_looks,
    median_images_per_s,
    training_curve,
)
from edgenas.report.markup import Markup, element, join
from edgenas.report.model import DeviceReport, Pick, Report
from edgenas.report.scatter import QUIET_ABOVE
from edgenas.report.spaces import draw_options
from edgenas.report.tables import candidate_table, failed_table, failure_table, finalist_table
from edgenas.report.wording import (
    against_random,
    failed_by_code,
    limits,
    no_pick,
    quantisation_gap,
    shipping,
    space_named,
    summary,
)


def header(report: Report) -> Markup:
    """Return the title, what was done in one sentence, and when."""
    data = report.data
    splits = (
        f"{units.plural(len(data.classes), 'class', 'es')}; "
        f"{units.count(data.train_images)} images to train, "
        f"{units.count(data.search_images)} to search, {units.count(data.test_images)} to test"
    )
    return element(
        "header",
        element("h1", report.title),
        element("p", summary(report), class_="lead"),
        element("p", f"{units.moment(report.created)} · {data.name}: {splits}", class_="note"),
    )


def cards(report: Report) -> Markup:
    """Return one card of headline figures a device."""
    drawn = (_card(number, device) for number, device in enumerate(report.devices, start=1))
    return element("div", *drawn, class_="cards four" if len(report.devices) == 4 else "cards")


def device_section(number: int, device: DeviceReport) -> Markup:
    """Return everything about one device."""
    where = f"{device.profile}, {units.plural(device.threads, 'thread')}, {device.runtime}"
    budget = f"Budget: {limits(device.budget)}. {device.budget.chosen}"
    return element(
        "section",
        element("h2", device.device_id),
        element("p", where, class_="note"),
        element("p", budget, class_="note"),
        _plots(device),
        *_pick_parts(device),
        _finalists(device),
        *_course(device),
        *_details(device),
        class_="panel",
        id=f"device-{number}",
    )


_LOOKS = (
    "Random: as it was trained, with augmented images and smoothed labels. Largest and smallest: "
    "looked at now and then, with training images and labels as they are."
)


def training_section(report: Report) -> Markup:
    """Return the training of the supernet."""
    supernet, training = report.supernet, report.supernet.training
    rate = median_images_per_s(training.history)
    told = (
        f"{units.count(training.steps)} steps in {units.duration(training.seconds)}, "
        f"INT8 fake quantisation from step {units.count(training.warm_up_steps)}"
    )
    if rate is not None:
        told += f", median {units.count(round(rate))} images/s"
    space = f"{space_named(supernet)}: {units.count(supernet.subnets)} subnets share these weights."
    wide, narrow = (
        training_curve(training, CURVE_WIDE),
        training_curve(training, CURVE_NARROW),
    )
    missing = "" if wide else element("p", "No losses were logged.", class_="note")
    looks = "" if not ends_are_looks(training.history) else element("p", _LOOKS, class_="note")
    return element(
        "section",
        element("h2", "Training"),
        element("p", f"{told}. {space}", class_="note"),
        wide,
        narrow,
        missing,
        looks,
        draw_options(supernet.shrunk),
        class_="panel",
    )


def time_section(report: Report) -> Markup:
    """Return the wall time by phase; empty markup where none was recorded."""
    phases = report.phase_seconds
    if not phases:
        return Markup()
    longest = max(phases.values()) or 1.0
    total = units.duration(sum(phases.values()))
    bars = join(
        part
        for name, seconds in phases.items()
        for part in (
            element("span", name),
            element("i", style=f"width:{100 * seconds / longest:.1f}%"),
            element("span", units.duration(seconds), class_="n"),
        )
    )
    return element(
        "section",
        element("h2", "Time"),
        element("p", f"{total} in all", class_="note"),
        element("div", bars, class_="phases"),
        class_="panel",
    )


def failure_section(report: Report) -> Markup:
    """Return what went wrong outside single trials; empty markup where nothing did."""
    if not report.failures:
        return Markup()
    return element(
        "section", element("h2", "Failures"), failure_table(report.failures), class_="panel"
    )


def provenance_section(report: Report) -> Markup:
    """Return what somebody needs to check the figures or to run the campaign again."""
    facts: list[tuple[str, str]] = [
        ("Command", element("span", report.command, class_="mono")),
        ("Seeds", ", ".join(f"{name} {seed}" for name, seed in report.seeds.items()) or "none"),
        ("Data", f"{report.data.name}, fingerprint {report.data.fingerprint}"),
        ("Classes", ", ".join(report.data.classes) or "not named"),
    ]
    facts += [(f"Host {name}", value) for name, value in report.machine.items()]
    for device in report.devices:
        facts.append((f"Runtime on {device.device_id}", device.runtime))
        if device.pick is not None:
            digest = element("span", device.pick.sha256, class_="mono")
            facts.append((f"Model on {device.device_id}", digest))
    facts.append(("Schema", report.schema))
    return element(
        "section", element("h2", "Provenance"), _facts(facts), class_="panel", id="provenance"
    )


def _card(number: int, device: DeviceReport) -> Markup:
    kind, told = shipping(device)
    title = element("h2", element("a", device.device_id, href=f"#device-{number}"))
    board = element("div", f"{device.profile}, {device.runtime}", class_="note")
    if device.pick is None:
        figures = element("p", f"{no_pick(device)} Budget: {limits(device.budget)}.")
    else:
        figures = _figures(device, device.pick)
    chip = element("div", told, class_=f"chip {kind}")
    return element("article", element("div", title, board), figures, chip, class_="card")


def _figures(device: DeviceReport, pick: Pick) -> Markup:
    budget = device.budget
    upper = pick.latency_p95_upper_ms
    bound = "" if upper is None else f"upper bound {units.milliseconds(upper)}, "
    compared = against_random(device) or f"runner-up: {pick.reason_next_lost}"
    latency, memory = f"{bound}not limited", "not limited"
    if budget.latency_p95_ms is not None:
        latency = f"{bound}budget {units.limit_ms(budget.latency_p95_ms)}"
    if budget.peak_memory_bytes is not None:
        memory = f"budget {units.size(budget.peak_memory_bytes)}"
    accuracy = units.percent(pick.bytes_accuracy_test)
    figures = element(
        "dl",
        _figure("Accuracy, test split", accuracy, quantisation_gap(pick)),
        _figure(
            "p95 latency",
            units.milliseconds(pick.latency_p95_ms),
            latency,
            _meter((upper or pick.latency_p95_ms) / budget.latency_p95_ms)
            if budget.latency_p95_ms
            else Markup(),
        ),
        _figure(
            "Peak memory",
            units.size(pick.peak_memory_bytes),
            memory,
            _meter(pick.peak_memory_bytes / budget.peak_memory_bytes)
            if budget.peak_memory_bytes
            else Markup(),
        ),
        _figure("Model", units.size(pick.model_bytes), f"{units.macs(pick.macs)} MACs"),
        class_="figures",
    )
    return join((figures, element("p", compared, class_="note")))


def _figure(name: str, value: str, note: str, meter: Markup | None = None) -> Markup:
    told = element("dd", value, meter or "", element("small", note))
    return element("div", element("dt", name), told)


def _meter(share: float) -> Markup:
    filled = element("i", style=f"width:{100 * min(1.0, share):.1f}%")
    used = f"{100 * share:.0f} % of the budget"
    return element("div", filled, class_="meter bad" if share > 1 else "meter", title=used)


def _plots(device: DeviceReport) -> Markup:
    if not device.candidates:
        return Markup()
    caption = (
        "Each point is one candidate: accuracy and latency of the same bytes. Filled points meet "
        "the whole budget, hollow ones do not. The bar left of a point is the 95 % interval of "
        "its p50. Point at a mark for its figures."
    )
    if len(device.candidates) > QUIET_ABOVE:
        caption += " With this many points only those on the front show their bar at rest."
    grid = element(
        "div",
        element(
            "div",
            plots.latency_plot(device, plots.WIDE),
            plots.latency_plot(device, plots.NARROW),
        ),
        element(
            "div",
            plots.memory_plot(device, plots.WIDE_SMALL),
            plots.memory_plot(device, plots.NARROW_SMALL),
        ),
        class_="plots",
    )
    return join((grid, element("p", caption, class_="note")))


def _pick_parts(device: DeviceReport) -> Iterable[Markup]:
    pick = device.pick
    if pick is None:
        yield element("h3", "No pick")
        yield element("p", no_pick(device))
        return
    yield element("h3", f"Picked: {pick.label}")
    yield draw_arch(pick.arch, pick.sizes, pick.stages)
    golden = "not compared"
    if pick.golden_max_lsb is not None:
        golden = f"device and host differ by at most {units.plural(pick.golden_max_lsb, 'code')}"
    low, high = pick.p50_ci95_ms
    yield _facts(
        (
            ("Why the next one lost", pick.reason_next_lost),
            ("Against random search", against_random(device) or "not compared"),
            (
                "Accuracy",
                f"bytes {units.percent(pick.bytes_accuracy_test)} on the test split, "
                f"{quantisation_gap(pick)}; {units.percent(pick.accuracy_search)} on the search "
                "split",
            ),
            (
                "p50 latency",
                f"{units.milliseconds(pick.latency_p50_ms)} (95 % CI {units.significant(low)} to "
                f"{units.milliseconds(high)})",
            ),
            ("Golden outputs", golden),
            ("Shipping", _shipping_told(device)),
            ("sha256", element("span", pick.sha256, class_="mono")),
        )
    )


def _shipping_told(device: DeviceReport) -> str:
    shipped = device.shipped
    if shipped is None:
        return shipping(device)[1]
    before = "nothing" if shipped.previous is None else shipped.previous
    return f"{shipping(device)[1]}; counter {shipped.counter}, replaced {before}"


def _finalists(device: DeviceReport) -> Markup:
    if not device.finalists:
        return Markup()
    picked = device.pick.arch_id if device.pick else None
    heading = element("h3", "Finalists, measured again")
    return join((heading, finalist_table(device.finalists, picked)))


def _course(device: DeviceReport) -> Iterable[Markup]:
    """How the search went; nothing where too little was measured to show it."""
    kinds = (search_plots.progress_plot, search_plots.fronts_plot, search_plots.prediction_plot)
    drawn = [
        element("div", draw(device, search_plots.THIRD), draw(device, search_plots.THIRD_NARROW))
        for draw in kinds
        if draw(device)
    ]
    if not drawn:
        return
    told = "Hypervolume: area of accuracy against p95 latency up to the limit."
    if device.predictions:
        near, count = search_plots.within(device.predictions, 0.1), len(device.predictions)
        told += (
            f" Predicted: each by a model that learnt from others; {near} of {count} within 10 % "
            f"of what was measured."
        )
    yield element("h3", "How the search went")
    yield element("div", *drawn, class_="plots three")
    yield element("p", told, class_="note")


def _details(device: DeviceReport) -> Iterable[Markup]:
    if device.candidates:
        title = element("summary", units.plural(len(device.candidates), "candidate"))
        yield element("details", title, candidate_table(device))
    if device.failed_trials:
        number = units.plural(len(device.failed_trials), "failed trial")
        codes = element("span", f" ({failed_by_code(device.failed_trials)})")
        title = element("summary", number, codes)
        yield element("details", title, failed_table(device.failed_trials))


def _facts(facts: Iterable[tuple[str, str]]) -> Markup:
    parts = join(
        part for name, value in facts for part in (element("dt", name), element("dd", value))
    )
    return element("dl", parts, class_="facts")
