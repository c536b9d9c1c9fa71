"""How long the tests and the book took when they ran last; nothing is run here."""

from pathlib import Path
from xml.etree import ElementTree

from jupyter_cache import get_cache

from tests.bench.timing import print_table

BUILD = Path(__file__).parents[2] / "_build"


def run() -> dict[str, float]:
    """Minutes by what ran: a report of pytest each, and the notebooks of the newest book."""
    seconds = {}
    for report in sorted((BUILD / "junit").glob("*.xml")):
        suites = ElementTree.parse(report).iter("testsuite")
        seconds[f"pytest, {report.stem}"] = sum(float(suite.get("time")) for suite in suites)
    caches = sorted((BUILD / ".jupyter_cache").glob("*"), key=lambda folder: folder.stat().st_mtime)
    if caches:
        records = get_cache(caches[-1]).list_cache_records()
        name = f"notebooks of the book ({len(records)})"
        seconds[name] = sum(record.data["execution_seconds"] for record in records)
    if not seconds:
        print("Nothing has been run here yet: make test, make book.")
        return {}
    figures = {name: round(value / 60, 1) for name, value in seconds.items()}
    print_table(["last run", "minutes"], list(figures.items()))
    return figures
