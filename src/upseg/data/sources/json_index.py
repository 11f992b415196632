"""Where the rows of a large JSON file's tables are, found without parsing them.

COCO's annotations of 118,000 images are half a gigabyte of JSON, which fills several gigabytes of memory once parsed.
Here the file is read once, in blocks, and only the byte range of each row is kept, with the one value that rows are
looked up by. A row is parsed when somebody asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped, UInt8

from upseg.errors import DataError
from upseg.files import check_openable, stamp

_BLOCK = 1 << 23  # bytes read at a time: what is computed from one block stays in the processor's cache
_QUOTE, _BACKSLASH, _MINUS, _OPEN_BRACE, _CLOSE_BRACE, _OPEN_BRACKET, _CLOSE_BRACKET = b'"\\-{}[]'
_DEPTH_OF_TABLE, _DEPTH_OF_ROW = 2, 3  # inside the file's one object, a list at 2, and in it an object at 3
_MOST_DIGITS = 18
_LONGEST_KEY = 4096  # characters: all keys of a table take as much memory as the longest
_MOST_STEPS = 100_000  # backslashes or blanks in a row

_STRUCTURAL = np.zeros(256, bool)
_STRUCTURAL[list(b'"{}[]')] = True
_STEP = np.zeros(256, np.int8)
_STEP[list(b"{[")], _STEP[list(b"}]")] = 1, -1
_BETWEEN = np.zeros(256, bool)  # what may lie between a member's name and its value
_BETWEEN[list(b" \t\r\n:")] = True


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one table of a JSON file.

    Attributes:
        starts: First byte of each row.
        stops: One past the last byte of each row.
        keys: What rows are looked up by, integers or texts; None where no key was asked for.
    """

    starts: Int64[np.ndarray, " n"]
    stops: Int64[np.ndarray, " n"]
    keys: Shaped[np.ndarray, " n"] | None

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, eq=False)
class JsonIndex:
    """The tables of a JSON file: its members that are lists of objects.

    Attributes:
        path: The file.
        tables: The tables by name.
        stamp: Size and time of change of the file that was indexed.
    """

    path: Path
    tables: Mapping[str, Table]
    stamp: tuple[int, int]

    def rows(self, name: str, numbers: Int64[np.ndarray, " m"]) -> list[dict[str, Any]]:
        """Parse the rows of a table that have these numbers, from 0.

        Raises:
            DataError: If the file has changed since it was indexed, or a row is not valid JSON.
        """
        table = self.tables[name]
        with self.path.open("rb") as file:
            if stamp(self.path) != self.stamp:
                raise DataError(f"{self.path}: the file has changed since it was opened; open the data set again")
            return [
                _parse(self.path, name, number, _read(file, start, stop))
                for number, start, stop in zip(
                    numbers.tolist(), table.starts[numbers].tolist(), table.stops[numbers].tolist(), strict=True
                )
            ]

    def without_keys(self) -> JsonIndex:
        """The same without what rows are looked up by, which needs less memory."""
        return replace(self, tables={name: replace(table, keys=None) for name, table in self.tables.items()})

    def all_rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Parse all rows of a table, a thousand at a time."""
        for first in range(0, len(self.tables[name]), 1000):
            yield from self.rows(name, np.arange(first, min(first + 1000, len(self.tables[name]))))


def index_json(path: Path, keys: Mapping[str, str]) -> JsonIndex:
    """Read a JSON file once and find the rows of all its tables.

    Args:
        path: A file that holds one JSON object.
        keys: For each table to be looked up in, the member whose value is the key of a row: an integer or a text.

    Raises:
        DataError: If there is no such file, it is cut off or no JSON, or a row has no such member.
    """
    scanner = _Scanner(path, keys)
    try:
        check_openable(path)
        changed = stamp(path)
        with path.open("rb") as file:
            _scan_blocks(scanner, file)
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file with tables, as COCO's are: {error}") from error
    except (IndexError, OverflowError) as error:
        raise scanner.broken("its structure is damaged") from error
    except MemoryError as error:
        raise DataError(f"{path}: there is not enough memory to index this file") from error
    return JsonIndex(path, {name: found.table() for name, found in scanner.found.items()}, changed)


def _scan_blocks(scanner: _Scanner, file: BinaryIO) -> None:
    """Feed the file to the scanner; what it could not finish comes again with the next block."""
    rest, wanted = b"", _BLOCK
    while block := file.read(wanted):
        data = rest + block
        done = scanner.feed(data)
        rest = data[done:]
        # a row longer than a block: read ever larger pieces, so that the time stays linear
        wanted = _BLOCK if done else max(_BLOCK, len(rest))
    scanner.finish()


@dataclass
class _Rows:
    """The rows of one table found so far, one array for each block."""

    starts: list[Int64[np.ndarray, " _"]] = field(default_factory=list)
    stops: list[Int64[np.ndarray, " _"]] = field(default_factory=list)
    keys: list[Shaped[np.ndarray, " _"]] | None = None

    def __len__(self) -> int:
        return sum(map(len, self.starts))

    def table(self) -> Table:
        nothing = np.zeros(0, np.int64)
        keys = None
        if self.keys is not None:
            kinds = {part.dtype.kind for part in self.keys if len(part)}
            parts = self.keys if len(kinds) < 2 else [part.astype(np.str_) for part in self.keys]
            keys = np.concatenate(parts) if parts else nothing
        return Table(np.concatenate([nothing, *self.starts]), np.concatenate([nothing, *self.stops]), keys)


@dataclass(frozen=True)
class _Block:
    """A piece of the file that does not begin inside a text, and its structure.

    Attributes:
        data: The bytes.
        quotes: Where texts begin (even places) and end (odd places).
        brackets: Where brackets and braces outside texts are.
        depths: How deep the file is nested after each of them.
    """

    data: UInt8[np.ndarray, " bytes"]
    quotes: Int64[np.ndarray, " q"]
    brackets: Int64[np.ndarray, " b"]
    depths: Int32[np.ndarray, " b"]


class _Scanner:
    """Goes through a file block by block and collects the rows of its tables."""

    def __init__(self, path: Path, keys: Mapping[str, str]) -> None:
        self.path, self.keys = path, keys
        self.found: dict[str, _Rows] = {}
        self._offset = 0  # of the block in the file
        self._depth = 0  # at the beginning of the block
        self._table: str | None = None  # the table that the block begins in

    def feed(self, data: bytes) -> int:
        """Take as much of a block as can be finished, and return how many bytes that is."""
        block = _structure(np.frombuffer(data, np.uint8), self._depth)
        closed = np.flatnonzero(block.depths <= 0)[:1]
        if (self._offset and self._depth == 0 and len(block.brackets)) or np.any(closed + 1 < len(block.brackets)):
            raise self.broken("there is more after its last bracket")
        # the block falls into stretches: the rest of a table, then whole tables, then the beginning of one
        borders = np.flatnonzero(block.depths < _DEPTH_OF_TABLE)
        ends = np.append(borders, len(block.brackets))
        table, first = (self._table, 0) if self._depth == _DEPTH_OF_TABLE else self._table_after(block, -1)
        done = 0
        for end in ends.tolist():
            if table is not None:
                done = max(done, self._take_rows(table, block, first, end))
            at_end = end == len(block.brackets)
            if at_end:
                break
            done = int(block.brackets[end]) + 1  # a table or another member of the file's object is complete
            table, first = self._table_after(block, end)
        self._finish_block(block, done, table)
        return done

    def finish(self) -> None:
        """Check that the file was complete."""
        if self._depth != 0 or self._offset == 0:
            raise self.broken("it ends before its brackets are closed; is it cut off?")

    def _table_after(self, block: _Block, border: int) -> tuple[str | None, int]:
        """The table that begins right after a place between tables, and the number of its first bracket in it."""
        opening = border + 1
        if opening >= len(block.brackets) or block.data[block.brackets[opening]] != _OPEN_BRACKET:
            return None, opening
        if block.depths[opening] != _DEPTH_OF_TABLE:
            return None, opening
        before = int(np.searchsorted(block.quotes, block.brackets[opening]))
        if before < 2:
            return None, opening
        name = bytes(block.data[block.quotes[before - 2] + 1 : block.quotes[before - 1]]).decode("utf-8", "replace")
        self.found.setdefault(name, _Rows(keys=[] if name in self.keys else None))
        return name, opening + 1

    def _take_rows(self, name: str, block: _Block, first: int, end: int) -> int:
        """Collect the whole rows between two brackets, and return where the last one ends (0 if there is none)."""
        depths = block.depths[first:end]
        characters = block.data[block.brackets[first:end]]
        stops = block.brackets[first:end][(depths == _DEPTH_OF_TABLE) & (characters == _CLOSE_BRACE)] + 1
        starts = block.brackets[first:end][(depths == _DEPTH_OF_ROW) & (characters == _OPEN_BRACE)][: len(stops)]
        if not len(stops):
            return 0
        if len(starts) != len(stops) or np.any(starts >= stops):
            raise self.broken(f"the brackets of the rows of {name!r} do not fit together")
        rows = self.found[name]
        if rows.keys is not None:
            rows.keys.append(self._row_keys(name, block, starts, stops, len(rows)))
        rows.starts.append(starts + self._offset)
        rows.stops.append(stops + self._offset)
        return int(stops[-1])

    def _row_keys(
        self,
        name: str,
        block: _Block,
        starts: Int64[np.ndarray, " n"],
        stops: Int64[np.ndarray, " n"],
        already: int,
    ) -> Shaped[np.ndarray, " n"]:
        """The value of the key of each row."""
        places = _member_places(block, self.keys[name].encode(), int(starts[0]), int(stops[-1]))
        owners = np.searchsorted(starts, places, side="right") - 1
        if not np.array_equal(owners, np.arange(len(starts))):
            counts = np.bincount(owners, minlength=len(starts))
            wrong = int(np.flatnonzero(counts != 1)[0])
            raise self.broken(
                f"row {already + wrong} of {name!r} has {counts[wrong]} members {self.keys[name]!r}, not 1"
            )
        values = _integers(block.data, places)
        if values is not None:
            return values
        texts = [_value(bytes(block.data[p:s])) for p, s in zip(places.tolist(), stops.tolist(), strict=True)]
        if None in texts:
            wrong = already + texts.index(None)
            raise self.broken(f"{self.keys[name]!r} in row {wrong} of {name!r} must be an integer or a text")
        return np.array(texts, np.str_)

    def _finish_block(self, block: _Block, done: int, table: str | None) -> None:
        last = int(np.searchsorted(block.brackets, done)) - 1
        if last >= 0:
            self._depth = int(block.depths[last])
        self._table = table if self._depth == _DEPTH_OF_TABLE else None
        self._offset += done

    def broken(self, reason: str) -> DataError:
        """The error that the file leads to."""
        return DataError(f"{self.path}: not a JSON file with tables, as COCO's are: {reason}")


def _structure(data: UInt8[np.ndarray, " bytes"], depth: int) -> _Block:
    """Tell brackets from texts in a block that begins outside of a text, nested `depth` deep."""
    places = np.flatnonzero(_STRUCTURAL[data])
    characters = data[places]
    is_quote = characters == _QUOTE
    is_quote[is_quote] = ~_escaped(data, places[is_quote])
    outside = (np.cumsum(is_quote) % 2 == 0) & (characters != _QUOTE)
    depths = np.cumsum(_STEP[characters[outside]], dtype=np.int32) + np.int32(depth)
    return _Block(data, places[is_quote], places[outside], depths)


def _escaped(data: UInt8[np.ndarray, " bytes"], places: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether an odd number of backslashes stands right before each of these places."""
    escaped = np.zeros(len(places), bool)
    going = np.arange(len(places))
    step = 1
    while len(going):
        going = going[(places[going] >= step) & (data[places[going] - step] == _BACKSLASH)]
        escaped[going] ^= True
        step += 1
        if step > _MOST_STEPS:
            raise ValueError(f"it has more than {_MOST_STEPS:,} backslashes in a row")
    return escaped


def _member_places(block: _Block, name: bytes, start: int, stop: int) -> Int64[np.ndarray, " m"]:
    """Where the values of the rows' own members of that name begin, between two places of a block."""
    whole = len(block.quotes) // 2 * 2
    opening, closing = block.quotes[:whole:2], block.quotes[1:whole:2]
    fits = (closing - opening == len(name) + 1) & (opening >= start) & (closing < stop)
    opening, closing = opening[fits], closing[fits]
    letters = block.data[opening[:, None] + np.arange(1, len(name) + 1)]
    closing = closing[(letters == np.frombuffer(name, np.uint8)).all(axis=1)]
    closing = closing[block.depths[np.searchsorted(block.brackets, closing) - 1] == _DEPTH_OF_ROW]
    places, colons = closing + 1, np.zeros(len(closing), bool)
    moving = _BETWEEN[block.data[places]]
    steps = 0
    while moving.any():
        steps += 1
        if steps > _MOST_STEPS:
            raise ValueError(f"it has more than {_MOST_STEPS:,} blanks in a row")
        colons |= block.data[places] == ord(":")
        places = places + moving
        moving = _BETWEEN[block.data[places]]
    # a text that is a value has no colon behind it
    return np.asarray(places[colons])


def _integers(data: UInt8[np.ndarray, " bytes"], places: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"] | None:
    """The integers that begin at these places; None if anything else begins at one of them."""
    negative = data[places] == _MINUS
    places = places + negative
    values, digits = np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
    going = np.ones(len(places), bool)
    while True:
        figures = data[places].astype(np.int64) - ord("0")
        going &= (figures >= 0) & (figures <= 9) & (digits <= _MOST_DIGITS)
        if not going.any():
            break
        values = np.where(going, values * 10 + figures, values)
        digits += going
        places = places + going
    others = np.isin(data[places], np.frombuffer(b".eE", np.uint8))
    if others.any() or np.any((digits == 0) | (digits > _MOST_DIGITS)):
        return None
    return np.where(negative, -values, values)


def _value(text: bytes) -> str | None:
    """The integer or text that some JSON begins with, as a text; None for anything else."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    found = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else None
    return found if found is None or len(found) <= _LONGEST_KEY else None


def _read(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(stop - start)


def _parse(path: Path, table: str, number: int, text: bytes) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: row {number} of {table!r} is not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}: row {number} of {table!r} must be a JSON object")
    return row
