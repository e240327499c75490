"""What a step of the schema may not take from the program before it, which works while it runs.

The catalogue is looked at before the step and after it, as facts in text: some must be there still,
as they were; of some there must be no new one at what was there before.
"""

from typing import Any, Final

from sqlalchemy import Connection, text

Fact = tuple[str, str, str, str]  # its kind, the table or function, its name there, what it says
# at what was there before a new one refuses rows that the older program writes
_NARROWS: Final = frozenset({"constraint", "unique index", "trigger", "holds", "wants"})
_OURS: Final = "c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'S')"
# a table that is written anew is locked for as long as that takes: its file tells
_FACTS: Final = f"""
SELECT 'table' AS kind, c.relname::text AS place, '' AS name,
       concat_ws(' ', c.relkind, c.relrowsecurity, c.relfilenode) AS what
FROM pg_class c WHERE {_OURS}
UNION ALL
SELECT 'column', c.relname, a.attname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation,
                 a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE {_OURS} AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'wants', c.relname, a.attname, ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE {_OURS} AND a.attnum > 0 AND NOT a.attisdropped
AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
UNION ALL
SELECT 'unique index', c.relname, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE {_OURS} AND i.indisunique
UNION ALL
SELECT 'constraint', c.relname, n.conname, pg_get_constraintdef(n.oid)
FROM pg_constraint n JOIN pg_class c ON c.oid = n.conrelid WHERE {_OURS} AND n.contype <> 'n'
UNION ALL
SELECT 'holds', c.relname, n.conname, pg_get_constraintdef(n.oid)
FROM pg_constraint n JOIN pg_class c ON c.oid = n.confrelid
WHERE {_OURS} AND n.contype = 'f' AND n.confdeltype IN ('a', 'r')
UNION ALL
SELECT 'trigger', c.relname, t.tgname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE {_OURS} AND NOT t.tgisinternal
UNION ALL
SELECT 'right', c.relname, concat_ws(' ', r.privilege_type, r.grantee::regrole), ''
FROM pg_class c, aclexplode(c.relacl) r WHERE {_OURS}
UNION ALL
SELECT 'function', p.oid::regprocedure::text, '', pg_get_function_result(p.oid)
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
UNION ALL
SELECT 'right', p.oid::regprocedure::text, concat_ws(' ', r.privilege_type, r.grantee::regrole), ''
FROM pg_proc p, aclexplode(p.proacl) r WHERE p.pronamespace = 'public'::regnamespace
"""


def facts(connection: Connection) -> set[Fact]:
    """Give what a program can see of the schema."""
    rows: Any = connection.execute(text(_FACTS))
    return {tuple(row) for row in rows}


def taken(before: set[Fact], after: set[Fact]) -> set[str]:
    """Name what the program before the step would miss, or be refused by."""
    old = {place for _, place, _, _ in before}
    gone = {f"gone or changed: {_name(fact)}" for fact in before - after if fact[0] != "wants"}
    new = (fact for fact in after - before if fact[0] in _NARROWS and fact[1] in old)
    return gone | {f"new: {_name(fact)}" for fact in new}


def _name(fact: Fact) -> str:
    kind, place, name, _ = fact
    return " ".join(word for word in (kind, place, name) if word)
