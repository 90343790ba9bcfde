"""`profiles show paper`: what the paper reports, and what this project assumes beside it."""

from __future__ import annotations

from typing import Any

from jetsched.profiler import paper
from jetsched.tables import Column, console, number, print_table
from jetsched.units import NOTHING


def paper_json() -> dict[str, Any]:
    """The paper's tables and ratios, the kill, and what is assumed."""
    from jetsched.files import to_json

    return {
        "table_1": to_json(paper.TABLE_1),
        "table_2": to_json(paper.TABLE_2),
        "figures": to_json(paper.FIGURES),
        "table_3": to_json(paper.TABLE_3),
        "killed": list(paper.KILLED),
        "epochs": paper.EPOCHS,
        "assumed": dict(paper.ASSUMED),
    }


def print_paper() -> None:
    """The same for a person."""
    out = console()
    out.print("Table 1: the boards", style="bold")
    columns = [Column(""), Column("Xavier NX"), Column("Orin Nano")]
    print_table(
        columns, [[name, *(cell or NOTHING for cell in row)] for name, row in paper.TABLE_1.items()]
    )
    out.print()
    out.print("Figures 1 and 2, table 3: time on the NX over the Orin's, GPU use", style="bold")
    columns = [
        Column("MODEL"),
        Column("ROLE", drop=2),
        Column("NX / ORIN", right=True),
        Column("GPU NX", right=True),
        Column("GPU ORIN", right=True),
        Column("AS THE PAPER SAYS IT", most=60, drop=1),
    ]
    print_table(columns, [_model_cells(figure) for figure in paper.FIGURES])
    out.print()
    out.print("The paper does not say, and this is assumed here:", style="bold")
    print_table(
        [Column("WHAT"), Column("ASSUMED", most=80)],
        [[name, text] for name, text in paper.ASSUMED.items()],
    )


def _model_cells(figure: paper.Comparison) -> list[str]:
    model = paper.paper_model(figure.title)
    ratios = " or ".join(f"{reading.nx_over_orin:.2f}" for reading in figure.readings)
    said = "; ".join(reading.text for reading in figure.readings)
    return [
        figure.title,
        model.role,
        ratios or "KILLED(NX)",
        number(paper.TABLE_3[paper.NX][figure.title], 1, " %"),
        number(paper.TABLE_3[paper.ORIN][figure.title], 1, " %"),
        said or figure.note,
    ]
