"""The first page of the console: what needs attention, and how it goes day by day."""

from starlette.responses import Response

from denizen.pages.console import CONSOLE, STAFF
from denizen.pages.site import Site
from denizen.pages.visit import Visit


class OverviewPages:
    """The page that the console opens with."""

    def __init__(self, site: Site) -> None:
        self._service = site.service
        site.add(CONSOLE, self.show, **STAFF)

    async def show(self, visit: Visit) -> Response:
        """Show it."""
        return visit.page("console/overview.html")
