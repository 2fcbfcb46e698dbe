"""Puts the tables of the last drills into docs/drills.md, between its marks: `make drill`."""

import sys
from pathlib import Path

from barograph.drill.report import HEADINGS, RAISED_HEADINGS, Clean, Report, cells, clean_text, raised_cells

PAGE = Path(__file__).resolve().parent.parent / "docs" / "drills.md"
BEGIN, END = "<!-- drills -->\n", "<!-- /drills -->\n"


def tables(report: Report) -> str:
    """A table a model, in Markdown."""
    parts = [f"Of {report.began[:10]}, by `make drill`.\n"]
    for model in dict.fromkeys(r.model for r in report.results):
        parts += [
            f"\n### {model}\n",
            *(part for c in report.clean if c.model == model for part in _without(c)),
            "\n",
        ]
        parts += [_row(HEADINGS), _row("---" for _ in HEADINGS)]
        parts += [_row(cells(r)) for r in report.results if r.model == model]
    return "".join(parts)


def _without(clean: Clean) -> list[str]:
    """What was raised without any fault."""
    told = [f"\n{clean_text(clean)}\n"]
    if clean.raised:
        told += ["\n", _row(RAISED_HEADINGS), _row("---" for _ in RAISED_HEADINGS)]
        told += [_row(raised_cells(one)) for one in clean.raised]
    return told


def _row(texts):
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |\n"


def main(folder: str) -> None:
    """Write what lies in a folder of `barograph drill` into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(
        f"{before}{BEGIN}{tables(Report.load(Path(folder)))}{END}{rest.partition(END)[2]}", "utf-8"
    )


if __name__ == "__main__":
    main(sys.argv[1])
