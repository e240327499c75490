"""Why a mail was not sent; the one question is whether trying again can help.

    MailError
    ├── TemporaryMailError    the server is away, slow, busy or set up wrongly: try again later
    └── PermanentMailError    this mail will never go: its address or the message itself is refused

They never reach an answer over HTTP. Their texts hold no address, no password and nothing that the
server said: servers repeat the recipient in it.
"""


class MailError(Exception):
    """The root: the mail was not sent, as far as is known."""


class TemporaryMailError(MailError):
    """Raised when the same mail may go later, perhaps after the operator mends a setting."""


class PermanentMailError(MailError):
    """Raised when the same mail would be refused for ever."""
