"""The console at `/console`: what support and admins see of the accounts, and do about them.

Support reads; whatever changes something is an admin's, as in the API. Each page calls the scenario
that the API or the command line calls. A sign-in of more than twelve hours ago has to be repeated
before the console opens.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from denizen.errors import NotFoundError
from denizen.pages.visit import CONSOLE, Visit

_RECENT: Final = timedelta(hours=12)
# what `Site.add` takes: who may come, and how long ago they may have signed in
STAFF: Final[Mapping[str, Any]] = {"roles": ("support", "admin"), "within": _RECENT}
ADMINS: Final[Mapping[str, Any]] = {"roles": ("admin",), "within": _RECENT}

__all__ = ["ADMINS", "CONSOLE", "STAFF", "id_in_path"]


def id_in_path(visit: Visit) -> uuid.UUID:
    """Give the id that the path names.

    Raises:
        NotFoundError: it is none.
    """
    try:
        return uuid.UUID(visit.request.path_params["id"])
    except ValueError:
        raise NotFoundError from None
