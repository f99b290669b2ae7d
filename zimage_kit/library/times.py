"""Points and lengths of time as people give them: "2026-11-30", "7d"."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from ..errors import BadRequest

When = datetime | date | str


def days(text: str | timedelta) -> timedelta:
    """A length of time from "36h", "7d", "2w". Raises BadRequest."""
    if isinstance(text, timedelta):
        return text
    found = re.fullmatch(r"\s*(\d{1,6})\s*([hdw])\s*", text)
    if found is None:
        raise BadRequest(f"{text!r} is not a length of time", expected="such as 36h, 7d or 2w")
    return int(found[1]) * {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}[found[2]]


def moment(when: When, end: bool = False) -> datetime:
    """A point in time; of a day its beginning, or with `end` the beginning of the next. Raises BadRequest."""
    if isinstance(when, datetime):
        return when.astimezone()
    if isinstance(when, str):
        if re.fullmatch(r"\s*\d{1,6}\s*[hdw]\s*", when):
            return datetime.now().astimezone() - days(when)
        try:
            parsed = datetime.fromisoformat(when.strip())
        except ValueError:
            raise BadRequest(f"{when!r} is not a date", expected="such as 2026-11-30, or 7d for a week ago") from None
        if len(when.strip()) > 10:
            return parsed.astimezone()
        when = parsed.date()
    day = datetime(when.year, when.month, when.day).astimezone()
    return day + timedelta(days=1) if end else day
