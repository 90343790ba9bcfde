"""`profiles show paper`: what the paper reports, and what this project assumes beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jetsched.profiler import paper
from jetsched.profiler.models import KnownModel, find
from jetsched.tables import Column, console, next_steps, print_table
from jetsched.units import NOTHING, number


def paper_json() -> dict[str, Any]:
    """The paper's tables and ratios, the kill, and what is assumed."""
    from jetsched.files import to_json

    return {
        "table_1": to_json(paper.TABLE_1),
        "table_2": [
            {
                **to_json(model),
                "hub_id": _known(model).hub_id,
                "parameters_counted": _known(model).shape.parameters,
            }
            for model in paper.TABLE_2
        ],
        "figures": to_json(paper.FIGURES),
        "table_3": to_json(paper.TABLE_3),
        "killed": list(paper.KILLED),
        "killed_why": paper.KILLED_WHY,
        "epochs": paper.EPOCHS,
        "setting": dict(paper.SETTING),
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
    out.print("Table 2: the models, as the paper gives them", style="bold")
    columns = [
        Column("MODEL"),
        Column("ROLE", drop=2),
        Column("PARAMETERS", right=True),
        Column("HERE"),
        Column("COUNTED", right=True, drop=1),
        Column("NOTE", most=90, least=20),
    ]
    print_table(columns, [_parameter_cells(model) for model in paper.TABLE_2])
    out.print()
    out.print("Figures 1 and 2, table 3: time on the NX over the Orin's, GPU use", style="bold")
    columns = [
        Column("MODEL"),
        Column("FIGURE", right=True, drop=3),
        Column("NX / ORIN", right=True),
        Column("GPU NX", right=True),
        Column("GPU ORIN", right=True),
        Column("AS THE PAPER SAYS IT", most=110, least=24, drop=1),
    ]
    print_table(columns, [_model_cells(figure) for figure in paper.FIGURES])
    out.print(f"  Why the NX's process was killed is {paper.KILLED_WHY}.")
    out.print()
    _print_facts("What else the paper says:", "SAYS", paper.SETTING)
    out.print()
    _print_facts("What it does not say, and is assumed here:", "ASSUMED", paper.ASSUMED)
    next_steps("jetsched costs paper", "jetsched profile --suite paper")


def _print_facts(title: str, column: str, facts: Mapping[str, str]) -> None:
    console().print(title, style="bold")
    print_table(
        [Column("WHAT"), Column(column, most=80)], [[name, text] for name, text in facts.items()]
    )


def _known(model: paper.PaperModel) -> KnownModel:
    known = find(model.known_as)
    assert known is not None  # all of Table 2 are known models
    return known


def _parameter_cells(model: paper.PaperModel) -> list[str]:
    counted = number(_known(model).shape.parameters / 1e6, 1, " M")
    return [
        model.title,
        model.role,
        model.parameters,
        model.known_as,
        counted,
        model.note or NOTHING,
    ]


def _model_cells(figure: paper.Comparison) -> list[str]:
    ratios = " or ".join(f"{reading.nx_over_orin:.2f}" for reading in figure.readings)
    said = " or ".join(reading.text for reading in figure.readings)
    return [
        figure.title,
        str(figure.figure),
        ratios or "KILLED(NX)",
        number(paper.TABLE_3[paper.NX][figure.title], 2, " %"),
        number(paper.TABLE_3[paper.ORIN][figure.title], 2, " %"),
        "; ".join(text for text in (said, figure.note) if text),
    ]
