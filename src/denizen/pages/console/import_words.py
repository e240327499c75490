"""Imports in words: states, fields, why a row is not taken, why a file can't be read."""

from denizen.imports.model import Import
from denizen.pages.words import Words


def state_names(words: Words) -> dict[str, str]:
    """Give what the states are called."""
    gettext = words.gettext
    return {
        "waiting": gettext("Waiting"),
        "checking": gettext("Checking"),
        "writing": gettext("Running"),
        "checked": gettext("Checked"),
        "finished": gettext("Finished"),
        "failed": gettext("Failed"),
        "stopped": gettext("Stopped"),
    }


def conflict_names(words: Words) -> dict[str, str]:
    """Give what can be done where an address belongs to a user already."""
    gettext = words.gettext
    return {
        "skip": gettext("Leave the user as they are"),
        "update": gettext("Update the user from the file"),
        "fail": gettext("Import nothing at all"),
    }


def recipe_names(words: Words) -> dict[str, str]:
    """Give where a file may be from; "" is for the columns to tell."""
    gettext = words.gettext
    return {
        "": gettext("Its columns tell"),
        "denizen": gettext("Columns with our own names"),
        "fastapi-users": "fastapi-users",
        "django": "Django",
        "supabase": "Supabase",
        "firebase": "Firebase",
    }


def encoding_names(words: Words) -> dict[str, str]:
    """Give how a file may be encoded; "" is for the file to tell."""
    told = {"utf-8": "UTF-8", "utf-16": "UTF-16", "windows-1251": "Windows-1251"}
    return {"": words.gettext("The file tells"), **told}


def filled_names(words: Words) -> dict[str, str]:
    """Give what the fields are called that columns fill."""
    gettext = words.gettext
    names = {
        "id": "ID",
        "foreign_id": gettext("ID, if it is a UUID"),
        "email": gettext("E-mail address"),
        "username": gettext("Username"),
        "hashed_password": gettext("Password hash"),
        "role": gettext("Role"),
        "locale": gettext("Language"),
        "is_active": gettext("Active"),
        "is_disabled": gettext("Disabled"),
        "banned_until": gettext("Disabled until"),
        "deleted_at": gettext("Deleted"),
        "email_verified": gettext("Address confirmed"),
        "email_verified_at": gettext("Address confirmed on"),
        "version": gettext("Version"),
        "firebase_salt": gettext("Salt of the hash"),
    }
    names |= dict.fromkeys(("created_at", "created_ms"), gettext("Account created"))
    return names | {
        "updated_at": gettext("Account changed"),
        "firebase_hash": names["hashed_password"],
    }


def reasons(words: Words) -> dict[str, str]:
    """Give why a row is not taken, by the code; in English as the API says it."""
    gettext = words.gettext
    return {
        "columns": gettext("The row has another number of cells than the first line."),
        "json_invalid": gettext("The line is not a JSON object."),
        "email_missing": gettext("There is no e-mail address."),
        "email_invalid": gettext("This is not an e-mail address."),
        "email_taken": gettext("The e-mail address belongs to a user already."),
        "username_invalid": gettext(
            "A username has 1 to 64 letters or digits of any script, no @, no spaces."
        ),
        "username_taken": gettext("The username belongs to another user."),
        "id_invalid": gettext("This is not a UUID."),
        "id_taken": gettext("The id belongs to another user."),
        "hash_unknown": gettext(
            "This is no hash of argon2, bcrypt, scrypt or pbkdf2; no password is taken in plain"
            " text."
        ),
        "hash_costly": gettext("To check this hash would take more than a second or 128 MiB."),
        "role_invalid": gettext("A role is user, support or admin."),
        "role_kept": gettext("An import does not change administrators and support staff."),
        "locale_invalid": gettext("A locale is en or ru."),
        "is_active_invalid": gettext("This is neither true nor false."),
        "email_verified_invalid": gettext("This is neither true nor false."),
        "instant_invalid": gettext("This is not an instant (RFC 3339) from 1970 until now."),
        "version_invalid": gettext("A version is a whole number from 1."),
        "deleted": gettext("The user is marked as deleted."),
    }


def file_problems(words: Words) -> dict[str, str]:
    """Give why a file can't be imported, by the code."""
    gettext = words.gettext
    return {
        "not_text": gettext("This is neither CSV nor JSON nor a dump."),
        "encoding": gettext("The text can't be read in this encoding. Choose the encoding."),
        "header_missing": gettext("The first line does not name the columns."),
        "columns": gettext(
            "The columns can't be used: one is named twice, there are too many, or none holds"
            " e-mail addresses."
        ),
        "columns_unknown": gettext("Say what these columns fill, or that they are to be left:"),
        "csv_invalid": gettext(
            "A quote is not closed, or stands inside a cell without being doubled."
        ),
        "json_invalid": gettext("This is not JSON, or not a list of users."),
        "dump_unknown": gettext("The dump does not begin with a table of users."),
        "dump_cut": gettext("The dump ends in the middle of the table."),
        "hash_config_missing": gettext(
            "Firebase's hashes need the project's password hash parameters."
        ),
        "file_gone": gettext("The file is not there any more."),
        "file_changed": gettext("The file is not the one that was begun."),
        "conflicts": gettext(
            "Rows of the file belong to users already, and nothing was to be imported then."
        ),
        "internal": gettext("Something went wrong on our side."),
    }


def file_problem(words: Words, code: str, message: str, line: int) -> str:
    """Give the sentence for what is wrong with a file: where, and which columns if it is those."""
    said = file_problems(words).get(code) or words.gettext("The file can't be read.")
    if code == "columns_unknown":
        said = f"{said} {message.partition(': ')[2]}"
    if not line:
        return said
    return words.gettext("Line %(line)s: %(said)s") % {"line": words.number(line), "said": said}


def progress(words: Words, found: Import) -> str:
    """Give how far an import is: how many rows, how fast, how long it will take."""
    if found.records is None:
        return words.gettext("The file is being read.")
    told = {"done": words.number(found.done), "records": words.number(found.records)}
    parts = [words.gettext("%(done)s of %(records)s rows") % told]
    if found.rate and found.done:
        rate = {"rate": words.number(round(found.rate))}
        parts.append(words.gettext("%(rate)s rows a second") % rate)
        left = words.span(max(1.0, (found.records - found.done) / found.rate))
        parts.append(words.gettext("%(time)s left") % {"time": left})
    return ", ".join(parts)
