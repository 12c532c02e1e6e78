"""The first line of a table without names, where it may be names that are numbers: "0,1,2".

Programs that make a table of an array name its columns so. Taken for an action, such a line would move all others down
by one row. Counts decide: a table has as many rows as there are pictures, or one less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lewm_data.errors import DataError
from lewm_data.tables import NAMELESS, Table

SAME = "Give all tables the same first line."


@dataclass(frozen=True)
class FirstLine:
    """What the first line is; `FirstLine.of` decides.

    Attributes:
        text: The line, or nothing where there is no doubt.
        is_names: Whether it is the names of the columns.
    """

    text: str = ""
    is_names: bool = False

    @classmethod
    def of(
        cls, where: Path, table: Table, pictures: Callable[[], int | None], first: FirstLine | None = None
    ) -> FirstLine:
        """Decides for a table.

        Where only counts could tell, and do not, the first table decides; without one that has such a line, one column
        is taken for numbers: many devices begin with a 0.

        Args:
            where: The table, for errors.
            table: The table.
            pictures: Counts the pictures that it belongs to; None where that is not known.
            first: What the first line of the first table is, if this is another one.

        Raises:
            DataError: The line may be either, or is something else than that of the first table.
        """
        if not table.counted:
            if first is not None and first.is_names:
                raise DataError(
                    f"{where}: does not begin with {first.text}, the names of the columns in the first table", SAME
                )
            return cls()
        text = ",".join(f"{number:g}" for number in table.columns[NAMELESS][0])
        shown, rows = pictures(), len(table)
        is_names = shown is not None and rows == shown + 1
        if first is not None and first.text and not is_names and (shown is None or rows != shown - 1):
            return cls(text, first.is_names)
        if "," in text and (shown is None or rows == shown):
            raise DataError(
                f"{where}: its first line, {text}, may be the names of the columns, or numbers",
                "Name the columns there, such as action_0,action_1; or write 0.0,1.0 if these are numbers.",
            )
        if first is not None and is_names != first.is_names:
            here, there = ("names", "numbers") if is_names else ("numbers", "names")
            raise DataError(
                f"{where}: its first line, {text}, is {here}, as it has {rows} lines for {shown} pictures; the first "
                f"table begins with {there}",
                SAME,
            )
        return cls(text, is_names)

    def applied(self, table: Table) -> Table:
        """The rows of the table that this is the first line of: without it, where it is names."""
        return table.without_first() if self.is_names else table

    def in_words(self) -> list[str]:
        """What was assumed; nothing where there was no doubt."""
        if not self.text:
            return []
        if self.is_names:
            return [f"the first line of a table, {self.text}, is names: the lines after it are as many as is usual"]
        return [f"the first line of a table, {self.text}, is numbers, and no names"]
