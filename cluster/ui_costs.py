"""The page Cost model: how good its predictions are, how boards drift, what it was learnt from."""

from __future__ import annotations

from jetsched.cluster.ui_base import Ui
from jetsched.cluster.ui_fit import add_fit_page
from jetsched.profiler.costbook import CostBook


def add_costs_pages(ui: Ui) -> None:
    """Put the pages about costs into the dashboard; they share one cost model."""
    book = CostBook(ui.home)
    add_fit_page(ui, book)
