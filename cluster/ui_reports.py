"""Kept reports, as the dashboard shows them: pages that may do nothing but be looked at."""

from __future__ import annotations

from urllib.parse import quote

from fastapi.responses import FileResponse, RedirectResponse, Response

from jetsched.cluster.keptreports import INDEX, MEDIA, file_of_report, is_folder_of_report
from jetsched.cluster.ui_base import HEADERS, Ui

#: As if from another place: no script, no form, nothing of this head's can be read.
POLICY = (
    "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline';"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def add_reports(ui: Ui) -> None:
    """Put the route into the pages."""

    @ui.router.get("/reports/{path:path}", response_model=None)
    def report(path: str) -> Response:
        """A file of a report; of a folder its page, at an address from which its pictures are."""
        if is_folder_of_report(ui.home, path):
            place = f"{ui.router.prefix}/reports/{quote(path.removesuffix('/'))}/{INDEX}"
            return RedirectResponse(place, 307, headers=HEADERS)
        file = file_of_report(ui.home, path)
        headers = {**HEADERS, "Content-Security-Policy": POLICY}
        return FileResponse(file, media_type=MEDIA[file.suffix], headers=headers)
