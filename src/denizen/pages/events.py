"""What the audit's events are called, in nouns: nobody's gender is guessed."""

from denizen.pages.words import Words


def event_name(words: Words, action: str) -> str:
    """Give the name of an action; one that has none is shown as it is."""
    return event_names(words).get(action, action)


def event_names(words: Words) -> dict[str, str]:
    """Give the names of all actions."""
    gettext = words.gettext
    return {
        "session.started": gettext("Sign-in"),
        "session.refused": gettext("Failed sign-in"),
        "session.ended": gettext("End of a session"),
        "session.all_ended": gettext("End of all other sessions"),
        "password.refused": gettext("Wrong password"),
        "password.changed": gettext("Change of the password"),
        "password.link_made": gettext("Link to set a password"),
        "email.verified": gettext("Confirmation of the e-mail address"),
        "email.change_requested": gettext("Request to change the e-mail address"),
        "email.change_cancelled": gettext("Withdrawal of that request"),
        "email.changed": gettext("Change of the e-mail address"),
        "email.change_undone": gettext("Return to the old e-mail address"),
        "user.registered": gettext("Registration"),
        "user.created": gettext("Creation of the account"),
        "user.updated": gettext("Change of the account"),
        "user.deletion_requested": gettext("Request to delete the account"),
        "user.deletion_undone": gettext("Withdrawal of the deletion"),
        "user.erased": gettext("Erasure of the account"),
        "import.started": gettext("Start of an import"),
        "import.checked": gettext("Check of an import"),
        "import.finished": gettext("End of an import"),
        "import.failed": gettext("Failure of an import"),
        "import.stopped": gettext("Stop of an import"),
        "import.resumed": gettext("Continuation of an import"),
        "users.exported": gettext("Export of users"),
        "mail.retried": gettext("New try to send mails"),
        "key.created": gettext("Creation of an API key"),
        "key.revoked": gettext("Revocation of an API key"),
    }
