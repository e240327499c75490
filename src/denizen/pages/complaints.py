"""What went wrong, in the person's language: a sentence for each code of an error or an issue.

The codes are the API's; a test holds that each of them has its words.
"""

from typing import Final

from denizen.db.errors import (
    OutcomeUnknownError,
    StaleVersionError,
    TakenError,
    UnavailableError,
)
from denizen.errors import (
    DenizenError,
    InvalidError,
    Issue,
    OverloadedError,
    PasswordWrongError,
    ThrottledError,
)
from denizen.http.problems import issues_of
from denizen.pages.words import Words

MISSING: Final = "missing"
SAID: Final = "said"  # the message is in the person's words: whoever raises it knows more


def field_issues(error: Exception) -> tuple[Issue, ...]:
    """Give what an error says about single fields of a form."""
    if isinstance(error, PasswordWrongError):
        return (Issue("current_password", error.code, ""),)
    return issues_of(error) if isinstance(error, InvalidError | TakenError) else ()


def about_field(words: Words, issue: Issue, *, minimum: int) -> str:
    """Give the sentence that stands at a field."""
    if issue.code == SAID:
        return issue.message
    if issue.code == MISSING:
        return _missing(words, issue.field)
    gettext = words.gettext
    sentences = {
        "email_invalid": gettext("This is not an e-mail address. One looks like ann@example.org."),
        "email_taken": gettext("This address belongs to another account."),
        "username_invalid": gettext(
            "A username has 1 to 64 letters or digits of any script, no @ and no spaces."
        ),
        "username_taken": gettext("This username belongs to somebody else. Choose another one."),
        "password_wrong": gettext("The password is wrong."),
        "password_invalid": gettext("This is not text."),
        "password_too_short": words.ngettext(
            "A password has at least %(num)d character.",
            "A password has at least %(num)d characters.",
            minimum,
        )
        % {"num": minimum},
        "password_too_long": gettext("A password has at most 256 characters."),
        "password_blocklisted": gettext(
            "This password is on the list that attackers try first. Choose another one."
        ),
        "email_other": gettext("This is not the address of this account."),
        "selection_changed": gettext(
            "Others are selected by now than when you were asked. Nothing was done: look again."
        ),
        "password_context": gettext("A password must not be made of your own name or address."),
        "name_invalid": gettext("A name is one line of at most 80 characters."),
        "name_differs": gettext("This is not the name."),
    }
    return sentences.get(issue.code) or gettext("This value can't be used.")


def about_all(words: Words, error: Exception) -> str:
    """Give the sentence for an error as a whole."""
    gettext = words.gettext
    if isinstance(error, ThrottledError):
        said = gettext("Too many tries. Try again %(time)s.")
        return said % {"time": words.later(error.retry_after)}
    if isinstance(error, OverloadedError):
        return gettext("The service is busy. Try again in a moment.")
    if isinstance(error, OutcomeUnknownError):
        return gettext("The connection broke while saving. Check whether the change was made.")
    if isinstance(error, UnavailableError):
        return gettext("The service can't reach its data at the moment. Nothing was changed.")
    code = error.code if isinstance(error, DenizenError | StaleVersionError) else ""
    sentences = {
        "sign_in_failed": gettext(
            "The e-mail address or the password is wrong, or the account can't be used."
        ),
        "token_invalid": gettext("This link does not work any more."),
        "registration_closed": gettext("Registration is closed here."),
        "last_admin": gettext(
            "This is the last active administrator. Make somebody else one first."
        ),
        "own_account": gettext(
            "This is your own account. Role and state are another administrator's to change,"
            " and the address is yours under “My account”."
        ),
        "version_stale": gettext("Somebody else has changed this meanwhile. Nothing was saved."),
        "not_allowed": gettext("Your role does not allow this."),
        "not_found": gettext("There is nothing here."),
    }
    return sentences.get(code) or gettext("This did not work. Nothing was changed.")


def _missing(words: Words, field: str) -> str:
    gettext = words.gettext
    sentences = {
        "email": gettext("Enter an e-mail address."),
        "username": gettext("Enter a username."),
        "password": gettext("Enter a password."),
        "current_password": gettext("Enter your password."),
        "name": gettext("Enter a name."),
        "scope": gettext("Choose at least one."),
        "file": gettext("Choose a file."),
    }
    return sentences.get(field) or gettext("Fill this in.")
