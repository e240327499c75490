"""The host's application: its own engine, its own routes; three lines mount denizen.

Run it: `uvicorn host_app.app:create_app --factory --app-dir examples` with HOST_DATABASE_URL set.
"""

import os
import uuid
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from denizen import Denizen
from denizen.users.schemas import CreateUser
from host_app.models import Company, Member, Post


class NewCompany(BaseModel):
    """A company with its first member."""

    name: str
    nickname: str
    member: CreateUser


class NewPost(BaseModel):
    """What a member wants to say."""

    text: str


class Profile(BaseModel):
    """What the host shows of a member."""

    username: str
    nickname: str | None
    company_id: uuid.UUID | None


def create_app(engine: AsyncEngine | None = None) -> FastAPI:
    """Make the host's app."""
    engine = engine or create_async_engine(os.environ["HOST_DATABASE_URL"])
    open_session = async_sessionmaker(engine, expire_on_commit=False)
    app = FastAPI(title="host")

    denizen = Denizen(engine=engine, user_model=Member)
    denizen.install(app, prefix="/auth")

    @app.post("/companies", status_code=201)
    async def found_company(payload: NewCompany) -> Profile:
        """Found a company with its first member: both or neither, in the host's transaction."""
        async with open_session.begin() as db:
            company = Company(name=payload.name)
            db.add(company)
            await db.flush()
            member = await denizen.users.create_user(payload.member, db=db)
            member.nickname = payload.nickname
            member.company_id = company.id
        return Profile.model_validate(member, from_attributes=True)

    @app.get("/profile")
    async def profile(user: Annotated[Member, Depends(denizen.current_user)]) -> Profile:
        """Show the host's columns of whoever is signed in."""
        return Profile.model_validate(user, from_attributes=True)

    @app.post("/posts", status_code=201)
    async def write_post(
        user: Annotated[Member, Depends(denizen.current_user)], payload: NewPost
    ) -> uuid.UUID:
        """Write a post; the author is the detached user itself."""
        async with open_session.begin() as db:
            user.nickname = user.nickname or "writer"
            post = Post(text=payload.text, author=user)
            db.add(post)
        return post.id

    return app
