"""The options of `edgenas search`: what is wanted, how many measurements it may take, which limits.

Reading and deciding only; the command itself is `edgenas.cli.search`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgenas.cli.options import add_budget, add_devices, seconds

if TYPE_CHECKING:
    from edgenas.campaign.finals import FinalsPlan
    from edgenas.search.budget import Budget
    from edgenas.search.trial import Trial
    from edgenas.space import ArchSpace
    from edgenas.space.listed import ListedSpace

TRIALS, RANDOM = 24, 12  # candidates, where nobody says how many
MOST_SESSIONS = 8  # of a finalist in doubt, where nobody says how many
LEARNT_FROM = 30  # measurements from which on models of the device pay
# What is wanted, and the searchers that look for it; the first one unless another is named.
OBJECTIVES = {
    "accuracy,latency": (),
    "accuracy": ("ofa", "spos"),
}


def add_search(parser: argparse.ArgumentParser) -> None:
    """Which devices, which limits, how many measurements."""
    add_devices(parser)
    parser.add_argument(
        "--devices", metavar="SELECTOR",
        help="a fleet: 'profile=raspberry-pi-4 tag:lab', 'id=pi4-a,pi4-b', '*' (docs/fleet.md); "
        "equal devices, once they were shown to be equal, measure each candidate once for all",
    )  # fmt: skip
    add_budget(parser)
    parser.add_argument(
        "--latency-ms", type=float, metavar="MS",
        help="limit on the p95 latency, for all devices that have none of their own (--budget)",
    )  # fmt: skip
    parser.add_argument(
        "--peak-rss-mb", type=float, metavar="MB",
        help="limit on peak memory in megabytes, likewise; on every device a network stays inside "
        "the memory that its board profile has for a model, whatever limits are given",
    )  # fmt: skip
    parser.add_argument(
        "--packed-kib", type=float, metavar="KIB",
        help="propose only networks whose weights, in the bits of their layers, and biases take at "
        "most so many KiB: what has to be sent (docs/search.md)",
    )  # fmt: skip
    parser.add_argument(
        "--objective", default="accuracy,latency", metavar="NAMES",
        help="accuracy,latency (default: a front inside the limits) or accuracy (the most accurate "
        "network inside the limits)",
    )  # fmt: skip
    parser.add_argument(
        "--searcher", metavar="NAME",
        help="evolution (default below 30 trials), surrogate (fewest measurements; default from 30 "
        "trials on), linas, nsga2, regularised, spos (default for accuracy alone below 46 trials; "
        "its first 16 are random), ofa (default there from 46 on; its first 30 are), random; with "
        "the extra optuna: optuna-tpe, optuna-nsga2",
    )  # fmt: skip
    parser.add_argument("--trials", type=int, help=f"candidates of the searcher ({TRIALS})")
    parser.add_argument(
        "--random", type=int,
        help=f"candidates of random search beside it ({RANDOM}; none with --budget N or --searcher "
        "random)",
    )  # fmt: skip
    parser.add_argument("--level", default="quick", help="of candidates: quick (default), standard")
    parser.add_argument("--finalists", type=int, default=4, help="measured again (4)")
    parser.add_argument("--sessions", type=int, default=3, help="measurements of a finalist (3)")
    parser.add_argument(
        "--most-sessions", type=int, metavar="N",
        help=f"of a finalist whose latency is not told from the limit by then ({MOST_SESSIONS}, or "
        "--sessions where that is more)",
    )  # fmt: skip
    parser.add_argument("--final-level", default="certify", help="of finalists (certify)")
    parser.add_argument(
        "--wait", type=seconds, default=10.0, metavar="S", help="wait this long for devices (10)"
    )


def wanted_trials(args: argparse.Namespace) -> dict[str, int]:
    """Candidates by searcher.

    Raises:
        CampaignError: options contradict each other.
    """
    from edgenas.campaign.errors import CampaignError

    if args.objective not in OBJECTIVES:
        raise CampaignError(
            f"--objective {args.objective}: expected one of {', or '.join(OBJECTIVES)}; memory is "
            f"a limit: give it with --peak-rss-mb"
        )
    fitting = OBJECTIVES[args.objective]
    if fitting and args.searcher is not None and args.searcher not in fitting:
        raise CampaignError(
            f"--objective {args.objective}: expected --searcher {' or '.join(fitting)}, got "
            f"{args.searcher}; leave one of the two options out"
        )
    counts = [int(word) for word in args.budget if word.isdecimal()]
    if len(counts) > 1 or (counts and args.trials is not None):
        raise CampaignError(
            f"expected one number of measurements, got {len(counts)} in --budget and --trials "
            f"{args.trials}; give --budget N, or --trials N"
        )
    trials = counts[0] if counts else TRIALS if args.trials is None else args.trials
    name = args.searcher or _usual(args.objective, trials)
    _check_acts(name, trials)
    if name == "random":
        if args.random:
            raise CampaignError(
                f"--searcher random: expected no --random beside it, got {args.random}; say with "
                f"--trials how many there are to be"
            )
        return {name: trials}
    beside = 0 if counts else RANDOM
    return {name: trials, "random": beside if args.random is None else args.random}


def _usual(objective: str, trials: int) -> str:
    """The searcher where nobody names one: one whose models decide on a fair part of the trials."""
    fitting = OBJECTIVES[objective]
    if not fitting:
        return "surrogate" if trials >= LEARNT_FROM else "evolution"
    from edgenas.search.limited import OFA

    ofa, spos = fitting
    return ofa if trials >= OFA.first + 2 * OFA.round else spos


def _check_acts(name: str, trials: int) -> None:
    """Make sure that a searcher under limits gets beyond its first proposals, which are draws.

    Raises:
        CampaignError: no model and no limit would ever act.
    """
    if name not in OBJECTIVES["accuracy"] or not trials:
        return
    from edgenas.campaign.errors import CampaignError
    from edgenas.search.limited import OFA, SPOS

    first = {"ofa": OFA.first, "spos": SPOS.first}[name]
    if trials <= first:
        raise CampaignError(
            f"--searcher {name}: expected more than {first} candidates, got {trials}; its first "
            f"{first} are random, so that no limit would act; give --trials {2 * first}, or search "
            f"with --objective accuracy,latency and another searcher"
        )


def wanted_finals(args: argparse.Namespace) -> FinalsPlan:
    """How finalists are measured.

    Raises:
        CampaignError: options contradict each other.
    """
    from edgenas.campaign.errors import CampaignError
    from edgenas.campaign.finals import FinalsPlan

    most = args.most_sessions
    if most is not None and most < args.sessions:
        raise CampaignError(
            f"--most-sessions {most}: expected at least the {args.sessions} of --sessions; give "
            f"more, or leave it out"
        )
    most = max(MOST_SESSIONS, args.sessions) if most is None else most
    return FinalsPlan(args.finalists, args.sessions, args.final_level, most)


def wanted_limits(args: argparse.Namespace) -> list[str]:
    """The words of --budget that are limits, and those that the two options stand for."""
    words = [word for word in args.budget if not word.isdecimal()]
    parts = []
    if args.latency_ms is not None:
        parts.append(f"{_plain(args.latency_ms)}ms")
    if args.peak_rss_mb is not None:
        parts.append(f"{_plain(args.peak_rss_mb)}MB")
    return [*words, ",".join(parts)] if parts else words


def _plain(value: float) -> str:
    """A number without an exponent, which limits cannot have."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def searched_space(
    args: argparse.Namespace, space: ArchSpace, trials: Iterable[Trial]
) -> ArchSpace:
    """The space that is searched: all that was trained, or what --packed-kib leaves of it.

    Args:
        args: the parsed options.
        space: that was trained.
        trials: what was measured already.

    Raises:
        ArchError: not even the smallest network is within the limit.
        CampaignError: larger or untrained ones were measured, and could be picked.
    """
    from edgenas.campaign.errors import CampaignError
    from edgenas.space.listed import ListedSpace, listed
    from edgenas.space.sized import sized

    known = list(trials)
    if isinstance(space, ListedSpace):
        _check_listed(space, known)
    if args.packed_kib is None:
        return space
    most = int(1024 * args.packed_kib)
    part = (
        listed(space, space.archs, most) if isinstance(space, ListedSpace) else sized(space, most)
    )
    larger = sum(not part.admits(trial.arch) for trial in known)
    if larger:
        raise CampaignError(
            f"--packed-kib {args.packed_kib:g}: expected a study without larger networks, got "
            f"{larger} that were measured before; they could be picked, so search in a copy of the "
            f"run folder without study.sqlite, or allow more"
        )
    return part


def _check_listed(space: ListedSpace, known: Sequence[Trial]) -> None:
    """Refuse a study from a time when all of the space was searched.

    Raises:
        CampaignError: names how many were never trained.
    """
    from edgenas.campaign.errors import CampaignError

    outside = sum(not space.admits(trial.arch) for trial in known)
    if outside:
        raise CampaignError(
            f"study: expected none but the {len(space.archs)} networks that were trained, got "
            f"{outside} others that were measured before; they could be picked, so search in a "
            f"copy of the run folder without study.sqlite"
        )


def check_limited(args: argparse.Namespace, budgets: Sequence[Budget]) -> None:
    """Make sure that a search for accuracy alone has a limit to stay inside of.

    Raises:
        CampaignError: it has none.
    """
    from edgenas.campaign.errors import CampaignError

    if OBJECTIVES[args.objective] and any(budget.latency_p95_ms is None for budget in budgets):
        raise CampaignError(
            f"--objective {args.objective}: expected a limit on latency, got none; without one the "
            f"largest network is the answer; give --latency-ms"
        )
