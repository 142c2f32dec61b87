"""The statements of a study: one for each thing that it reads or adds.

Leaves what the rows mean to `edgenas.search.study`.
"""

from __future__ import annotations

from sqlalchemy import BindParameter, bindparam, func, insert, select

from edgenas.database.connection import add_once
from edgenas.database.schema import (
    BUDGETS,
    PROPERTIES,
    RENEWALS,
    RESULTS,
    SESSIONS,
    STUDIES,
    TRIALS,
)

_STUDY: BindParameter[int] = bindparam("study")
_NUMBER: BindParameter[int] = bindparam("number")

BEGIN = add_once(STUDIES)
FIND = select(STUDIES.c.study).where(STUDIES.c.name == bindparam("name"))
ADD_PROPERTY = add_once(PROPERTIES)
ALL_PROPERTIES = select(PROPERTIES.c.name, PROPERTIES.c.value).where(PROPERTIES.c.study == _STUDY)
ADD_BUDGET = insert(BUDGETS)
ALL_BUDGETS = (
    select(BUDGETS.c.device, BUDGETS.c.body)
    .where(BUDGETS.c.study == _STUDY)
    .order_by(BUDGETS.c.position)
)

LAST = select(func.coalesce(func.max(TRIALS.c.number), 0)).where(TRIALS.c.study == _STUDY)
ADD_TRIAL = add_once(TRIALS)
ADD_RESULT = add_once(RESULTS)
_RENEWAL = RENEWALS.alias("newest")
_NEWEST = (
    select(func.max(_RENEWAL.c.position))
    .where(_RENEWAL.c.study == TRIALS.c.study, _RENEWAL.c.number == TRIALS.c.number)
    .scalar_subquery()
)
ALL_TRIALS = (
    select(
        *(TRIALS.c.number, TRIALS.c.device, TRIALS.c.searcher, TRIALS.c.arch, RESULTS.c.body),
        *(RENEWALS.c.position, RENEWALS.c.body),
    )
    .outerjoin(RESULTS, (RESULTS.c.study == TRIALS.c.study) & (RESULTS.c.number == TRIALS.c.number))
    .outerjoin(RENEWALS, RENEWALS.c.position == _NEWEST)
    .where(TRIALS.c.study == _STUDY)
    .order_by(TRIALS.c.number)
)
ONE_TRIAL = ALL_TRIALS.where(TRIALS.c.number == _NUMBER)
RAW = select(RESULTS.c.raw).where(RESULTS.c.study == _STUDY, RESULTS.c.number == _NUMBER)
RENEWED = (
    select(RENEWALS.c.body, RENEWALS.c.raw)
    .where(RENEWALS.c.study == _STUDY, RENEWALS.c.number == _NUMBER)
    .order_by(RENEWALS.c.position)
)
ADD_RENEWAL = insert(RENEWALS)

ADD_SESSION = insert(SESSIONS)
ALL_SESSIONS = (
    select(
        *(SESSIONS.c.position, SESSIONS.c.device, SESSIONS.c.arch, SESSIONS.c.body),
        SESSIONS.c.wall_ms,
    )
    .where(SESSIONS.c.study == _STUDY)
    .order_by(SESSIONS.c.position)
)
SESSION_RAW = select(SESSIONS.c.raw).where(
    SESSIONS.c.study == _STUDY, SESSIONS.c.position == _NUMBER
)
