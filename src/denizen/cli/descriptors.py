"""How many clients a worker takes at once: no more than it has file descriptors for.

Without one left the server would go on accepting, in vain and without a pause, which takes a whole
core. A client who is not accepted yet waits with the kernel, and costs nothing.
"""

import contextlib
import resource
from typing import Final

MOST: Final = 1024  # clients of all workers; the server's own choice
_FEWEST: Final = 8
_WANTED: Final = 65_536
_OTHERS: Final = 64  # a worker's libraries, logs, uploads, figures


def clients_of_a_worker(workers: int, connections: int) -> int:
    """Ask the system for more descriptors, and give how many clients each worker may take.

    Args:
        workers: that share the clients.
        connections: that a worker opens to the database.
    """
    left = _raised() - _OTHERS - connections
    return max(_FEWEST, min(MOST // workers, left))


def _raised() -> int:
    """Raise the limit as far as is allowed and of use; give it."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if most == resource.RLIM_INFINITY else min(_WANTED, most)
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return _WANTED if limit == resource.RLIM_INFINITY else limit
    with contextlib.suppress(OSError, ValueError):  # then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        return wanted
    return limit
