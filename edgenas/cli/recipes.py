"""`edgenas recipes`: the training recipes and methods there are, or one of them as a file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgenas.cli.options import Subparsers

if TYPE_CHECKING:
    from edgenas.train.recipes import Method


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "recipes",
        help="list training recipes and methods, or print one as a file",
        description="A base recipe fits a kind of data; a method says how subnets are drawn and "
        "taught, and is put on a base. `edgenas recipes NAME > my.toml` writes all values of one, "
        "`edgenas train --recipe-file my.toml` takes those that the file keeps.",
    )
    parser.add_argument("name", nargs="?", help="print this recipe as TOML")
    parser.add_argument(
        "--on", default="digits", metavar="BASE",
        help="base recipe that a method is put on (default: digits)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, or print one."""
    from edgenas.train.recipe import CHOICES, TEACHERS
    from edgenas.train.recipe_file import recipe_toml
    from edgenas.train.recipes import METHODS, RECIPES, recipe

    if args.name is not None:
        print(recipe_toml(recipe(args.name, args.on)), end="")
        return 0
    from edgenas.train.samplers import SAMPLERS

    print("base recipes, each `in-turns`, in equal time the best compared (docs/benchmarks.md):")
    for name, base in RECIPES.items():
        print(f"  {name:16s} {base.epochs:g} epochs of batches of {base.batch}, rate {base.rate:g}")
    print("methods, put on a base:")
    for name, method in METHODS.items():
        print(f"  {name:16s} {method.summary}")
        print(f"  {'':16s}   {_changes(method)}")
    print("what a recipe can choose from:")
    for field, names in {"sampler": tuple(SAMPLERS), "teachers": TEACHERS, **CHOICES}.items():
        print(f"  {field:16s} {', '.join(names)}")
    return 0


def _changes(method: Method) -> str:
    factors = {"epochs": method.length, "rate": method.pace}
    texts = [f"{name} x {factor:.2g}" for name, factor in factors.items() if factor != 1]
    texts += [f"{name} = {_text(value)}" for name, value in method.changes.items()]
    return ", ".join(texts)


def _text(value: object) -> str:
    return "[" + ", ".join(value) + "]" if isinstance(value, tuple) else str(value)
