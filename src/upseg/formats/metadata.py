"""The facts about segments that image formats have no place for, as one JSON text; and what all readers share."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32, Int64, Integer

from upseg.errors import FormatError
from upseg.files import check_openable, parse_json, read_json
from upseg.functional.label_maps import label_checksum, segment_areas, segment_boxes
from upseg.images.label_maps import LabelValues, StoredLabels
from upseg.images.reading import DEFAULT_MAX_PIXELS
from upseg.segmentation import Category, Segment, Segmentation

VERSION = 1  # of the metadata; a reader refuses what is newer
LARGEST_MAP = DEFAULT_MAX_PIXELS
"""Pixels: a bound on what a damaged or hostile file can make a reader allocate."""

_MOST_NUMBER = 1e300  # beyond it computing with coordinates gives no numbers any more


@dataclass(frozen=True)
class Facts:
    """What a file says about segments beside their pixels, each by the segment's value in the file.

    Attributes:
        count: The number of segments where upseg wrote the file, so that the ids are 1..count and are kept as they are;
            None for the files of other programs, whose ids are renumbered canonically.
        scores: Confidence in [0, 1].
        categories: Class.
        parents: The value of the containing segment.
        provenance: How the result came to be.
        areas: In pixels, where the file states them and upseg wrote it: the label map must agree.
        checksum: The `label_checksum` of the label map that was written; None where the file has none.
    """

    count: int | None = None
    scores: Mapping[int, float] = field(default_factory=dict)
    categories: Mapping[int, Category] = field(default_factory=dict)
    parents: Mapping[int, int] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    areas: Mapping[int, int] = field(default_factory=dict)
    checksum: str | None = None


def note_of(segmentation: Segmentation, **more: Any) -> dict[str, Any]:
    """What JSON formats have no place for and upseg notes beside the segments; with further members."""
    return {
        "version": VERSION,
        "segments": len(segmentation),
        "checksum": label_checksum(segmentation.labels),
        **more,
        "provenance": dict(segmentation.provenance),
    }


def noted_facts(
    note: Mapping[str, Any], place: str, rows: Mapping[int, Mapping[str, Any]], categories: Mapping[int, Category]
) -> Facts:
    """The facts of a file with a `note_of` at a place, and a row for each segment with those of its facts there are."""
    check_version(note.get("version"))
    return Facts(
        count=integer_of(note.get("segments"), f"{place}.segments"),
        scores={i: number_of(row["score"], "score") for i, row in rows.items() if row.get("score") is not None},
        categories=categories,
        parents={i: integer_of(row["parent"], "parent") for i, row in rows.items() if row.get("parent") is not None},
        provenance=object_of(note.get("provenance"), f"{place}.provenance"),
        areas={i: integer_of(row["area"], "area") for i, row in rows.items() if row.get("area") is not None},
        checksum=checksum_of(note),
    )


def facts_to_text(segmentation: Segmentation) -> str:
    """All of a segmentation but its labels, as ASCII JSON with one column for each fact that any segment has."""
    segments = segmentation.segments
    categories = list(dict.fromkeys(s.category for s in segments if s.category is not None))
    numbers = {category: number for number, category in enumerate(categories)}
    data: dict[str, Any] = {
        "upseg": VERSION,
        "segments": len(segments),
        "checksum": label_checksum(segmentation.labels),
        "provenance": dict(segmentation.provenance),
    }
    if any(s.score is not None for s in segments):
        data["scores"] = [None if s.score is None else float(s.score) for s in segments]
    if any(s.parent is not None for s in segments):
        data["parents"] = [s.parent for s in segments]
    if categories:
        data["categories"] = [{"id": c.id, "name": c.name, "is_thing": c.is_thing} for c in categories]
        data["category_numbers"] = [None if s.category is None else numbers[s.category] for s in segments]
    return dump_json(data)


def facts_from_text(text: str) -> Facts:
    """The inverse of `facts_to_text`.

    Raises:
        ValueError: If the text is not what `facts_to_text` writes.
    """
    data = object_of(parse_json(text), "the metadata")
    check_version(data.get("upseg"))
    count = integer_of(data.get("segments"), "the metadata's number of segments")
    table = [read_category(entry, "is_thing") for entry in data.get("categories", [])]
    numbers = _column(data, "category_numbers", count)
    return Facts(
        count=count,
        scores={i: number_of(v, f"score of segment {i}") for i, v in _column(data, "scores", count).items()},
        categories={i: table[integer_of(v, f"category number of segment {i}")] for i, v in numbers.items()},
        parents={i: integer_of(v, f"parent of segment {i}") for i, v in _column(data, "parents", count).items()},
        provenance=object_of(data.get("provenance"), "the provenance"),
        checksum=checksum_of(data),
    )


def checksum_of(data: Mapping[str, Any]) -> str | None:
    """The checksum that upseg noted in a file; None in files of versions that noted none."""
    value = data.get("checksum")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"the checksum must be a text, got {_shown(value)}")
    return value


def _column(data: Mapping[str, Any], name: str, count: int) -> dict[int, Any]:
    values = data.get(name)
    if values is None:
        return {}
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"the metadata's {name} must be a list of {count} entries")
    return {index: value for index, value in enumerate(values, start=1) if value is not None}


def assemble(labels: Integer[np.ndarray, "h w"], facts: Facts) -> Segmentation:
    """Put a label map and the facts about its values together.

    Raises:
        ValueError: If they contradict each other.
    """
    if facts.count is None:
        return Segmentation.from_labels(
            labels,
            scores=facts.scores,
            categories=facts.categories,
            parents=facts.parents,
            provenance=facts.provenance,
        )
    if labels.size == 0 or int(labels.min()) < 0 or int(labels.max()) > facts.count:
        raise ValueError(f"its label map and its metadata disagree: ids must be 0..{facts.count}")
    if int(labels.max()) < facts.count:
        raise ValueError(f"its metadata list segment {facts.count}, which has no pixel in its label map")
    areas = segment_areas(labels)
    missing = np.flatnonzero(areas == 0)
    if np.any(missing > 0):
        raise ValueError(f"its metadata list segment {missing[missing > 0][0]}, which has no pixel in its label map")
    own = labels.astype(np.int32, copy=False)
    _check_undamaged(own, areas, facts)
    wrong = sorted({p for p in facts.parents.values() if not 1 <= p <= facts.count})
    if wrong:
        raise ValueError(f"parents must be ids 1..{facts.count}, got {wrong[0]}")
    segments = tuple(
        Segment(i, int(areas[i]), box, facts.scores.get(i), facts.categories.get(i), facts.parents.get(i))
        for i, box in enumerate(segment_boxes(own), start=1)
    )
    return Segmentation(own, segments, dict(facts.provenance))


def _check_undamaged(labels: Int32[np.ndarray, "h w"], areas: Int64[np.ndarray, " k1"], facts: Facts) -> None:
    """Refuse, with a ValueError, a label map that is not the one that upseg wrote."""
    advice = 'the file was damaged or edited; to take it as it is, remove "checksum", "upseg" and areas from it'
    wrong = next((i for i, area in facts.areas.items() if area != areas[i]), None)
    if wrong is not None:
        raise ValueError(f"segment {wrong} has {areas[wrong]} pixels, but {facts.areas[wrong]} were written: {advice}")
    if facts.checksum not in (None, label_checksum(labels)):
        raise ValueError(f"its label map is not the one that was written (the checksum does not fit): {advice}")


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a broken, truncated or foreign file raises in the block into one `FormatError` that names it."""
    try:
        check_openable(path)
        yield
    except FormatError:
        raise
    except FileNotFoundError as error:
        missing = Path(str(error.filename)) if error.filename else path
        raise FormatError(f"{missing}: no such file" + ("" if missing == path else f" (belongs to {path})")) from error
    except MemoryError as error:
        raise FormatError(
            f"{path}: there is not enough memory to read this file as {kind}; close other programs, or read it on a "
            "machine with more"
        ) from error
    except Exception as error:  # decoders raise whatever they stumble over in damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path}: cannot be read as {kind}: {reason}") from error


def dump_json(data: object) -> str:
    """Compact ASCII JSON, the same for the same data.

    Raises:
        FormatError: If JSON cannot hold the data exactly.
    """
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise FormatError(
            "scores and provenance must be finite numbers, texts, booleans, None, lists and dictionaries of those: "
            f"{error}"
        ) from error


def json_list(rows: Iterable[object]) -> Iterator[str]:
    """The text of a JSON list, row by row, so that they need not be in memory together; as `dump_json` has them."""
    yield "["
    for number, row in enumerate(rows):
        yield ("," if number else "") + dump_json(row)
    yield "]"


def load_json(path: Path) -> Any:
    """Parse a JSON file; call it inside `reading`."""
    return read_json(path)


def object_of(value: object, what: str) -> dict[str, Any]:
    """The value, if it is a JSON object; else a ValueError that says `what` it should have been."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a JSON object, got {_shown(value)}")
    return value


def list_of(value: object, what: str) -> list[Any]:
    """The value, if it is a JSON list; else a ValueError."""
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a JSON list, got {_shown(value)}")
    return value


def integer_of(value: object, what: str) -> int:
    """The value, if it is an integer; else a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} must be an integer, got {_shown(value)}")
    return value


def file_name_of(value: object, what: str) -> str:
    """The name of a file in a folder, or below it, if it is one, folders divided by `/`; else a ValueError."""
    if not isinstance(value, str) or set(value) & set("\\:\0") or {"", ".", ".."} & {*value.split("/")}:
        raise ValueError(f"{what} must be a plain file name, got {value!r:.200}")
    return value


def number_of(value: object, what: str) -> float:
    """The value as a float, if it is a finite number; else a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} must be a number, got {_shown(value)}")
    if not abs(value) < _MOST_NUMBER:
        raise ValueError(f"{what} must be a finite number, got {_shown(value)}")
    return float(value)


def size_of(height: object, width: object) -> tuple[int, int]:
    """(H, W), if both are positive and their product is not beyond `LARGEST_MAP`; else a ValueError."""
    rows, columns = integer_of(height, "the height"), integer_of(width, "the width")
    if rows < 1 or columns < 1 or rows * columns > LARGEST_MAP:
        raise ValueError(f"height and width must be at least 1 and at most {LARGEST_MAP} pixels, got {rows}x{columns}")
    return rows, columns


def assemble_stored(stored: StoredLabels) -> Segmentation:
    """What a label map in an image file says: ours with its facts; of another program each number is a segment.

    Raises:
        ValueError: If the label map and the facts contradict each other.
    """
    if stored.note is not None:
        return assemble(stored.values, facts_from_text(stored.note))
    return assemble(without_void(stored), Facts())


def without_void(stored: StoredLabels) -> Integer[np.ndarray, "h w"]:
    """The numbers with 0 for void, as `upseg.images.label_maps.LabelValues` has it."""
    return np.asarray(np.maximum(LabelValues().meaning(stored), 0))


def read_category(value: object, thing_key: str) -> Category:
    """A category from a JSON object with an id, a name and, under `thing_key`, whether it is a thing (default: yes)."""
    data = object_of(value, "a category")
    identity = integer_of(data.get("id"), "a category's id")
    return Category(identity, str(data.get("name", identity)), bool(data.get(thing_key, True)))


def check_version(version: object) -> None:
    """Refuse metadata of a newer upseg with a ValueError."""
    if integer_of(version, "the metadata's version") > VERSION:
        raise ValueError(f"its metadata are of version {version}, this upseg reads up to {VERSION}: update upseg")


def warn_of_losses(
    path: Path, labels: Int32[np.ndarray, " n"], hidden: Bool[np.ndarray, " k1"], names: Sequence[object]
) -> None:
    """Say which segments of another program's file are not in the label map as they were in the file.

    Args:
        path: The file.
        labels: The flattened map, where segment i of the file has the value i + 1.
        hidden: For each value, whether others lie on top of it.
        names: What the file calls each segment.
    """
    counted = segment_areas(labels[None])
    areas = np.pad(counted, (0, max(0, len(names) + 1 - len(counted))))
    for lost, what in (
        (np.flatnonzero(hidden & (areas[: len(hidden)] > 0)), "overlap smaller ones, which lie on top"),
        (np.flatnonzero(areas[: len(names) + 1] == 0), "cover no pixel of their own and are left out"),
    ):
        listed = [str(names[value - 1]) for value in lost[lost > 0].tolist()]
        if listed:
            shown = ", ".join(listed[:5]) + (", ..." if len(listed) > 5 else "")
            warnings.warn(f"{path}: {len(listed)} segments {what}: {shown}", stacklevel=3)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
