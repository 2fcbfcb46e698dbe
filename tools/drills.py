"""Puts the tables of the last drills into docs/drills.md, between its marks: `make drill`."""

import sys
from pathlib import Path

from barograph.drill.report import HEADINGS, Report, cells, clean_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "drills.md"
BEGIN, END = "<!-- drills -->\n", "<!-- /drills -->\n"


def tables(report: Report) -> str:
    """A table a model, in Markdown."""
    parts = [f"Of {report.began[:10]}, by `make drill`.\n"]
    for model in dict.fromkeys(r.model for r in report.results):
        parts += [
            f"\n### {model}\n",
            *(f"\n{clean_text(c)}\n" for c in report.clean if c.model == model),
            "\n",
        ]
        parts += [_row(HEADINGS), _row("---" for _ in HEADINGS)]
        parts += [_row(cells(r)) for r in report.results if r.model == model]
    return "".join(parts)


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
