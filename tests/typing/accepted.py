"""What type checkers must accept; never run."""

from typing import assert_type

from host_app.models import Member
from sqlalchemy.ext.asyncio import AsyncSession

from denizen import DBSessionManager, Denizen, UserModel
from denizen.db import Db, Page


async def verbs_take_any_session(db: AsyncSession, manager: DBSessionManager) -> None:
    """Host columns and ours are typed, results are the model."""
    member = await Member.create(db, email="a@b.example", username="a", nickname="n")
    assert_type(member, Member)
    assert_type(await Member.get_by_email(db, "a@b.example"), Member | None)
    assert_type(await UserModel.get_by_id(db, member.id), UserModel | None)
    assert_type(await UserModel.get_all(db), Page[UserModel])
    assert_type(await UserModel.delete(db, member.id), bool)
    async with manager.get_session() as unit, manager.get_session(join=unit) as inner:
        await UserModel.create(inner, email="a@b.example", username="a")


async def scenarios_give_the_hosts_class(denizen: Denizen[Member], db: Db) -> None:
    """A `Denizen` of a host's class gives objects of that class."""
    assert_type(await denizen.users.find_user("ann", db=db), Member)
    assert_type(await denizen.sessions.require_user("token"), Member)
