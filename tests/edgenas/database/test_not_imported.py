"""Commands without a database do not pay for SQLAlchemy, nor current databases for Alembic."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROBE = """
import sys
{}
print(sorted({{name.partition('.')[0] for name in sys.modules}} & {{'sqlalchemy', 'alembic'}}))
"""


def imported_by(statements: str, *words: str) -> str:
    """The last line that a process of its own prints after these statements."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE.format(statements), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.splitlines()[-1]


WITHOUT = (
    "from edgenas.cli.main import main, parser; parser()",
    "main(['profiles'])",
    "import edgenas.campaign.training",
    "import edgenas.campaign.overhearing, edgenas.cli.devices",
    "import edgenas.search, edgenas.search.pick",
    "import edgenas.fleet.profiles, edgenas.fleet.keys, edgenas.fleet.releases",
)


def test_without_a_database_nothing_of_it_is_imported() -> None:
    assert imported_by("\n".join(WITHOUT)) == "[]"


def test_a_new_or_current_database_needs_no_migration_tool(tmp_path: Path) -> None:
    opened = "from edgenas.fleet.journal import FleetJournal; FleetJournal(sys.argv[1]).close()"
    assert imported_by(f"{opened}\n{opened}", str(tmp_path / "a.sqlite")) == "['sqlalchemy']"
