"""Runs the contract: `python -m styles.contract.run SUPERUSER_URL OWNER_URL [LETTERS]`.

Prints a line of JSON for each property of each style: whether it holds, and what was seen.
`--outer` leaves out what looks inside, `--stop` ends at the first that breaks and must not, and
`--change=NAME` adds what a change of `styles/changes` is for.
"""

import asyncio
import importlib
import json
import secrets
import sys
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from denizen.db.testing import Databases
from styles.contract.ground import make_tables, open_ground
from styles.contract.properties import PROPERTIES, BrokenError, Property


def list_properties(*more: str, only_outer: bool = False) -> list[Property]:
    """Give every property: importing the checks puts them on the list."""
    for name in ("contract.outer", *(() if only_outer else ("contract.inside",)), *more):
        importlib.import_module(f"styles.{name}")
    return list(PROPERTIES.values())


@dataclass(frozen=True, slots=True)
class Found:
    """What a style showed: it holds, or what was seen instead; `is_odd`: not by a check."""

    style: str
    name: str
    holds: bool
    seen: str = ""
    is_odd: bool = False


async def make_database(server: Databases, letter: str) -> Databases:
    """Make an empty database with a style's tables."""
    name = f"styles_{secrets.token_hex(8)}"
    await server.run(f"CREATE DATABASE {name} OWNER denizen_owner")
    await make_tables(letter, server.on(name).owner_url)
    return server.on(name)


async def try_property(wanted: Property, letter: str, databases: Databases) -> Found:
    """Try one property on one style."""
    try:
        async with open_ground(letter, databases.owner_url) as ground:
            await wanted.check(ground)
    except BrokenError as error:
        return Found(letter, wanted.name, holds=False, seen=str(error))
    except Exception as error:  # noqa: BLE001  # a mutated style may fail anyhow
        return Found(letter, wanted.name, holds=False, seen=repr(error), is_odd=True)
    return Found(letter, wanted.name, holds=True)


async def run(
    server: Databases, letters: Iterable[str], properties: Iterable[Property], *, stop: bool
) -> None:
    """Try everything that applies, and print."""
    for letter in letters:
        databases = await make_database(server, letter)
        for wanted in properties:
            if letter not in wanted.applies:
                continue
            found = await try_property(wanted, letter, databases)
            sys.stdout.write(json.dumps(asdict(found)) + "\n")
            sys.stdout.flush()
            if stop and not found.holds and (found.is_odd or letter not in wanted.breaks):
                return


def main(words: list[str]) -> None:
    """Read the command line."""
    options = {word for word in words if word.startswith("--")}
    changes = [word.removeprefix("--change=") for word in options if "=" in word]
    properties = list_properties(
        *(f"changes.{change}.check" for change in changes), only_outer="--outer" in options
    )
    superuser, owner, *letters = [word for word in words if word not in options]
    warnings.simplefilter("ignore")
    server = Databases(superuser, owner, owner)
    asyncio.run(
        run(server, letters[0] if letters else "abcde", properties, stop="--stop" in options)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
