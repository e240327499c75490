"""What type checkers must refuse: every line marked `refused`, and no other; never run."""

from host_app.models import Member
from sqlalchemy.ext.asyncio import AsyncSession

from denizen import UserModel
from denizen.db import Db


async def misspelt_and_missing_columns(db: AsyncSession) -> None:
    """A wrong name, ours or the host's, a wrong type, a missing column, a positional one."""
    await Member.create(db, email="a@b.example", username="a", nicname="n")  # refused
    await Member.create(db, emial="a@b.example", username="a")  # refused
    await UserModel.create(db, email="a@b.example")  # refused
    await UserModel.create(db, email=1, username="a")  # refused
    await UserModel.create(db, "a@b.example", "a")  # refused
    await UserModel.create(db, email="a@b.example", username="a", email_key="a")  # refused
    UserModel(emial="a@b.example", username="a")  # refused


async def ending_the_unit(db: Db) -> None:
    """What verbs and queries take has no end."""
    await db.commit()  # refused
    await db.rollback()  # refused
    await db.close()  # refused
