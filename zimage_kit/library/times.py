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


def ago(text: str | timedelta) -> datetime:
    """The point in time so long ago. Raises BadRequest."""
    try:
        return datetime.now().astimezone() - days(text)
    except OverflowError:
        raise BadRequest(f"{text} ago is before the year 1", expected="such as 7d") from None


def moment(when: When, end: bool = False) -> datetime:
    """A point in time; of a day its beginning, or with `end` the beginning of the next. Raises BadRequest."""
    try:
        return _moment(when, end)
    except (ValueError, OverflowError):  # the year 1 or 9999, in a time zone where it is another
        raise BadRequest(f"{when} is not a date of every time zone", expected="such as 2026-11-30") from None


def _moment(when: When, end: bool) -> datetime:
    if isinstance(when, datetime):
        return when.astimezone()
    if isinstance(when, str):
        if re.fullmatch(r"\s*\d{1,6}\s*[hdw]\s*", when):
            return ago(when)
        try:
            parsed = datetime.fromisoformat(when.strip())
        except ValueError:
            raise BadRequest(f"{when!r} is not a date", expected="such as 2026-11-30, or 7d for a week ago") from None
        if len(when.strip()) > 10:
            return parsed.astimezone()
        when = parsed.date()
    day = when + timedelta(days=1) if end else when  # not 24 hours: a day when clocks change has 23 or 25
    return datetime(day.year, day.month, day.day).astimezone()
