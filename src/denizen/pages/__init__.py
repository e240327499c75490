"""The pages: what people see of the service in a browser. Only `create_app` has them.

A page is two functions of a `Visit`: `show` answers GET, `act` answers POST by calling the scenario
that the API calls, and leaves with 303. `Site` does the rest for all of them: the session cookie,
roles, the language, the form's token, a form that comes twice, errors, headers.

    site.add("/account/username", self.show, self.change, roles=ROLES)

    async def show(self, visit: Visit) -> Response:
        return visit.page("account/username.html", username=visit.me["username"])

    async def change(self, visit: Visit) -> Response:
        given = visit.read(username=parse_username)
        await self._account.update_me(visit.me["id"], given, actor=visit.actor, db=visit.db)
        return visit.leave("/account", say=visit.gettext("Your username is changed."))

What `act` raises is shown in the form again, with what was typed. Words are English in the code and
the templates, and Russian in `locale/ru.po`: `make words` brings that file up to date, and a test
refuses what is missing.
"""
