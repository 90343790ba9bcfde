"""Kept reports, as the dashboard shows them: pages that may do nothing but be looked at."""

from __future__ import annotations

from fastapi.responses import FileResponse

from jetsched.cluster.keptreports import MEDIA, file_of_report
from jetsched.cluster.ui_base import HEADERS, Ui

#: As if from another place: no script, no form, nothing of this head's can be read.
POLICY = (
    "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline';"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def add_reports(ui: Ui) -> None:
    """Put the route into the pages."""

    @ui.router.get("/reports/{path:path}")
    def report(path: str) -> FileResponse:
        """A file of a report."""
        file = file_of_report(ui.home, path)
        headers = {**HEADERS, "Content-Security-Policy": POLICY}
        return FileResponse(file, media_type=MEDIA[file.suffix], headers=headers)
