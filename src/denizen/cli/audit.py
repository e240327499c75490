"""`denizen audit`: what happened."""

from typing import Annotated

import typer

from denizen.audit.schemas import EventPage, EventView
from denizen.cli.running import (
    AsJson,
    DataDir,
    Service,
    out,
    print_json,
    print_table,
    reporting,
    with_service,
)


def audit(
    *,
    user: Annotated[str | None, typer.Option(help="About this user: id, e-mail, name.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, such as user.updated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the audit log, the newest first."""

    async def work(service: Service) -> EventPage:
        user_id = None if user is None else (await service.users.find_user(user)).id
        page = await service.audit.list_events(
            user_id=user_id, action=action, limit=limit, cursor=cursor
        )
        items = [EventView.model_validate(row) for row in page]
        return EventPage(items=items, next_cursor=page.next_cursor)

    with reporting():
        page = with_service(data_dir, work)
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    rows = [["at", "action", "about", "by", "from"]]
    for event in page.items:
        by = f"{event.actor_kind} {event.actor_id or ''}".strip()
        told = event.model_dump(mode="json")
        rows.append([told["at"], event.action, told["user_id"], by, event.address or ""])
    print_table(rows)
    if page.next_cursor:
        out.print(f"more: --cursor {page.next_cursor}", markup=False)
