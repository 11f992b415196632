"""A segmented image that is being corrected: pieces, which segment each belongs to, and everything that was done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from upseg.app.changes import Change, Journal, PixelChange, Runs, to_runs
from upseg.files import atomic_path, read_json, write_text
from upseg.formats import read
from upseg.functional.label_maps import neighbour_pairs, segment_areas, segment_boxes
from upseg.hierarchy import Hierarchy, MergeTree
from upseg.segmentation import Category, Segment, Segmentation

VOID_PIN = -1
PIECES, COLUMNS, FACTS, RESULT = "pieces.npy", "columns.npz", "facts.json", "result.npz"


class Document:
    """What is on the page of one image, read from the folder that `adopt` wrote.

    Pieces are the smallest regions: the atoms of a hierarchy, or the segments of a result without one, numbered from 1
    to R; corrections that change pixels make further ones. A piece follows the level of detail, until it is corrected:
    then it is pinned to a segment of its own number, above R, and stays there when the level moves. Everything that was
    done is in a journal, so that it can be undone at any time, and nothing but the last stroke is lost by a kill.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pieces: Int32[np.ndarray, "h w"] = np.load(folder / PIECES, mmap_mode="r+")
        self.facts = read_json(folder / FACTS)
        with np.load(folder / COLUMNS, allow_pickle=False) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.areas: list[int] = self.arrays.pop("areas").tolist()
        self.boxes: list[list[int]] = self.arrays.pop("boxes").tolist()
        tree = MergeTree(self.facts["regions"], self.arrays["merges"].astype(np.int64), self.arrays["heights"])
        self.hierarchy = Hierarchy(self.pieces, tree, self.facts["scale"])
        self.detail: float = self.facts["detail"]
        self.pinned = np.zeros(len(self.areas), np.int64)
        self.names: dict[str, str] = {}
        self.next_key = self.regions + 1
        self.next_pixels = 1
        self.done: list[Change] = []
        self.undone: list[Change] = []
        self.revision = 0
        self.journal = Journal(folder / "journal.jsonl")
        self._replay()

    @property
    def regions(self) -> int:
        """R, the number of pieces that the method found."""
        return self.hierarchy.tree.regions

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.pieces.shape[0], self.pieces.shape[1]

    @property
    def is_corrected(self) -> bool:
        """Whether anything but the level of detail was changed."""
        return any(change.kind != "detail" for change in self.done)

    def owners(self) -> Int64[np.ndarray, " p"]:
        """The key of the segment that each piece belongs to, by piece; 0 for void, which is piece 0."""
        found = np.zeros(len(self.areas), np.int64)
        level = self.hierarchy.tree.cut(self.hierarchy.cut_height(self.detail))
        found[1 : self.regions + 1] = level + 1
        found = np.where(self.pinned != 0, self.pinned, found)
        found[found == VOID_PIN] = 0
        return found

    def do(self, change: Change, pixels: PixelChange | None = None) -> Change:
        """Do a correction, given without the number of its pixels, to which `pixels` happens, and keep it.

        Returns:
            The same with that number.
        """
        if pixels is not None:
            pixels.save(self._pixel_file(self.next_pixels))
            change = replace(change, pixels=self.next_pixels, box=list(pixels.box))
        self.journal.append({"do": change.as_json()})
        self._take(change)
        if pixels is not None:
            pixels.apply(self.pieces, forward=True)
        return change

    def undo(self) -> Change | None:
        """Take the last correction back; None where there is none."""
        if not self.done:
            return None
        self.journal.append({"undo": 1})
        change = self._take_back()
        self._apply_pixels(change, forward=False)
        return change

    def redo(self) -> Change | None:
        """Do again what was taken back last; None where there is nothing."""
        if not self.undone:
            return None
        self.journal.append({"redo": 1})
        change = self._take_again()
        self._apply_pixels(change, forward=True)
        return change

    def segmentation(self, chosen: Int64[np.ndarray, " n"] | None = None) -> Segmentation:
        """The segments as they are now.

        Args:
            chosen: Some pieces, which become the one segment; None for all segments.
        """
        owners = self.owners()
        if chosen is not None:
            taken = np.zeros(len(owners), np.int64)
            taken[chosen] = 1
            return Segmentation.from_labels(taken[self.pieces].astype(np.int32))
        present = {key: self.facts["segments"].get(str(key), {}) for key in set(owners.tolist()) - {0}}
        scores = {key: fact["score"] for key, fact in present.items() if fact.get("score") is not None}
        found = Segmentation.from_labels(
            owners[self.pieces].astype(np.int32),
            scores=scores,
            categories=self._categories(present),
            provenance=self.provenance(),
        )
        has_void = bool((owners[1:] == 0).any()) or len(owners) > self.regions + 1
        return found if has_void or not self.facts["levels"] else replace(found, hierarchy=self.hierarchy)

    def provenance(self) -> dict[str, Any]:
        """How the result came to be, with the level of detail and the number of corrections."""
        facts = dict(self.facts["provenance"])
        if isinstance(facts.get("settings"), dict) and self.facts["levels"]:
            facts["settings"] = {**facts["settings"], "detail": self.detail}
        count = sum(change.kind != "detail" for change in self.done)
        return {**facts, "corrections": count} if count else facts

    def _categories(self, present: Mapping[int, Mapping[str, Any]]) -> dict[int, Category]:
        """Classes by key: those that the model gave, and names given by hand with numbers after these."""
        given = {tuple(fact["category"]) for fact in self.facts["segments"].values() if fact.get("category")}
        table = {name: Category(number, name, is_thing=is_thing) for number, name, is_thing in sorted(given)}
        for name in sorted(set(self.names.values()) - table.keys()):
            table[name] = Category(max((c.id for c in table.values()), default=0) + 1, name)
        categories = {}
        for key, fact in present.items():
            called = self.names.get(str(key), fact["category"][1] if fact.get("category") else None)
            if called:
                categories[key] = table[called]
        return categories

    def state(self) -> dict[str, Any]:
        """All that the page needs to begin with, as JSON has it; the arrays come apart."""
        pinned = np.flatnonzero(self.pinned)
        return {
            "size": list(self.shape),
            "regions": self.regions,
            "pieces": len(self.areas) - 1,
            "scale": self.facts["scale"],
            "levels": self.facts["levels"],
            "method": self.facts["provenance"].get("method"),
            "segments": self.facts["segments"],
            "pinned": to_runs(pinned, self.pinned[pinned]),
            **self.position(),
        }

    def position(self) -> dict[str, Any]:
        """Where one is between all that was done and all that was undone."""
        return {
            "revision": self.revision,
            "undo": len(self.done),
            "redo": len(self.undone),
            "detail": self.detail,
            "names": self.names,
            "corrected": self.is_corrected,
        }

    def _replay(self) -> None:
        """Do everything in the journal again; only the pixels of its last line may not have been written yet."""
        last: tuple[Change, bool] | None = None
        for line in self.journal.read():
            if "do" in line:
                last = Change.from_json(line["do"]), True
                self._take(last[0])
            elif "undo" in line:
                last = self._take_back(), False
            else:
                last = self._take_again(), True
        if last is not None:
            self._apply_pixels(last[0], forward=last[1])

    def _take(self, change: Change) -> None:
        self.undone.clear()
        self.next_pixels = max(self.next_pixels, (change.pixels or 0) + 1)
        self._forward(change)

    def _take_again(self) -> Change:
        change = self.undone.pop()
        self._forward(change)
        return change

    def _forward(self, change: Change) -> None:
        self.areas += [0] * len(change.created)
        self.boxes += change.created
        self.pinned = np.concatenate([self.pinned, np.zeros(len(change.created), np.int64)])
        self.next_key += change.keys
        self._set(change.pins, change, 1)
        self.done.append(change)

    def _take_back(self) -> Change:
        change = self.done.pop()
        self._set(change.pins_before, change, 0)
        left = len(self.areas) - len(change.created)
        del self.areas[left:], self.boxes[left:]
        self.pinned = self.pinned[:left]
        self.next_key -= change.keys
        self.undone.append(change)
        return change

    def _set(self, pins: Runs, change: Change, side: int) -> None:
        """Give the table its values before (0) or after (1) a change."""
        for first, count, pin in pins:
            self.pinned[first : first + count] = pin
        for piece, more in change.areas:
            self.areas[piece] += more if side else -more
        if change.detail is not None:
            self.detail = change.detail[side]
        for key, pair in change.names.items():
            name = pair[side]
            self.names.pop(key, None)
            if name is not None:
                self.names[key] = name
        self.revision += 1

    def _apply_pixels(self, change: Change, *, forward: bool) -> None:
        if change.pixels is not None:
            PixelChange.load(self._pixel_file(change.pixels)).apply(self.pieces, forward=forward)

    def _pixel_file(self, number: int) -> Path:
        return self.folder / f"pixels-{number}.npz"


def adopt(folder: Path) -> None:
    """Make the files of a `Document` in a session's folder, of its `result.npz`; those that were there are replaced."""
    result = read(folder / RESULT)
    hierarchy = result.hierarchy
    pieces = result.labels if hierarchy is None else hierarchy.atoms
    if hierarchy is None:
        tree, scale = tree_of_parents(result)
        detail, segments = 1.0, {str(segment.id): _facts_of(segment) for segment in result}
    else:
        tree, scale, segments = hierarchy.tree, hierarchy.scale, {}
        detail = float(result.provenance.get("settings", {}).get("detail", 0.5))
    # without the facts it is no document, until all is written
    for path in [folder / FACTS, folder / "journal.jsonl", *folder.glob("pixels-*.npz")]:
        path.unlink(missing_ok=True)
    with atomic_path(folder / PIECES) as partial, partial.open("wb") as file:
        np.save(file, pieces)
    missing = tree.regions + 1 - len(areas := segment_areas(pieces))  # a result without segments has one empty piece
    boxes = [(0, 0, 0, 0), *segment_boxes(pieces), *[(0, 0, 0, 0)] * missing]
    with atomic_path(folder / COLUMNS) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            areas=np.pad(areas.astype(np.int64), (0, missing)),
            boxes=np.array(boxes, np.int64).reshape(-1, 4),
            merges=tree.merges.astype(np.int64),
            heights=tree.heights.astype(np.float64),
            pairs=neighbour_pairs(pieces),
        )
    facts = {
        "regions": tree.regions,
        "scale": scale,
        "detail": detail,
        "levels": bool(len(tree.heights)) and scale > 0,
        "segments": segments,
        "provenance": dict(result.provenance),
    }
    write_text(folder / FACTS, json.dumps(facts))


def _facts_of(segment: Segment) -> dict[str, Any]:
    return {"score": segment.score, "category": segment.category and list(astuple(segment.category))}


def tree_of_parents(result: Segmentation) -> tuple[MergeTree, float]:
    """A result whose segments say what they are a part of, as a tree: the deepest merge first.

    Returns:
        The tree and the height at which all parts are merged; what has nothing in common merges above it.
    """
    depth: dict[int, int] = {}
    for segment in result:
        way = []
        current: int | None = segment.id
        while current is not None and current not in depth:
            way.append(current)
            current = result[current].parent
        for steps, one in enumerate(reversed(way), start=1):
            depth[one] = (depth[current] if current is not None else -1) + steps
    deepest = max(depth.values(), default=0)
    parts = sorted((s for s in result if s.parent is not None), key=lambda s: (-depth[s.id], s.id))
    tops = [s.id for s in result if s.parent is None]
    merges = [(s.parent - 1, s.id - 1) for s in parts if s.parent is not None]
    heights = [float(deepest - depth[s.id] + 1) for s in parts]
    merges += [(tops[0] - 1, other - 1) for other in tops[1:]]
    heights += [float(deepest + 1)] * (len(tops) - 1)
    regions = max(1, len(result))
    tree = MergeTree(regions, np.array(merges, np.int64).reshape(-1, 2), np.array(heights, np.float64))
    return tree, float(deepest)
