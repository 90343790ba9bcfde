"""`costs paper`: what the data sheets alone say of the paper's workloads, beside the paper."""

from __future__ import annotations

from jetsched.options import Json, print_json


def paper(as_json: Json = False) -> None:
    """Predict the paper's six workloads from the data sheets alone, beside what it reports.

    Nothing is fitted on the paper, and nothing that was measured here is used.

    Example: jetsched costs paper
    """
    from jetsched import predictions_screen, tables
    from jetsched.profiler.paper_predictions import predictions

    found = predictions()
    if as_json:
        print_json([predictions_screen.prediction_json(each) for each in found])
        return
    predictions_screen.print_predictions(found)
    tables.next_steps("jetsched profiles show paper", "jetsched costs show")
