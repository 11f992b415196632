"""Documents: levels, pins, undo, and what is left after a kill."""

import numpy as np
import pytest

from tests.app.conftest import ATOMS, photo, with_levels
from upseg.app.document import Document, tree_of_parents
from upseg.app.edits import cut, erase, fill_holes, grow, join, name, paint, rub_out, set_detail
from upseg.errors import UpsegError
from upseg.segmentation import Category, Segmentation


def labels_of(document: Document) -> np.ndarray:
    return document.segmentation().labels


@pytest.mark.parametrize("detail", [0.0, 0.3, 0.5, 0.85, 1.0])
def test_a_level_is_the_one_of_the_hierarchy(document, detail) -> None:
    set_detail(document, detail)
    assert np.array_equal(labels_of(document), with_levels().at(detail).labels)
    assert document.segmentation().provenance["settings"]["detail"] == detail


def test_without_corrections_the_result_keeps_its_hierarchy(document) -> None:
    assert document.segmentation().hierarchy is not None
    join(document, [[3, 1], [6, 1]])
    assert document.segmentation() == Segmentation.from_labels(labels_of(document))


def test_what_is_merged_stays_when_the_level_moves(document) -> None:
    join(document, [[3, 1], [6, 1]])
    for detail in (0.0, 1.0):
        set_detail(document, detail)
        labels = labels_of(document)
        assert labels[0, 50] == labels[30, 50]
        assert len(np.unique(labels[:, :40])) == (1 if detail == 0 else 4)


def test_every_correction_is_undone_and_done_again(document) -> None:
    alike = np.zeros(document.shape, np.uint8)
    alike[20:25, 30:36] = 255
    steps = [
        lambda: set_detail(document, 1.0),
        lambda: join(document, [[1, 2]]),
        lambda: name(document, [[[1, 2]], [[6, 1]]], "cup"),
        lambda: paint(document, [(10.0, 45.0), (30.0, 45.0)], 4.0, [[1, 2]]),
        lambda: cut(document, [[6, 1]], [[(0.0, 52.0), (39.0, 52.0)]]),
        lambda: rub_out(document, [(5.0, 5.0)], 3.0),
        lambda: fill_holes(document, document_runs(document, 10, 10)),
        lambda: erase(document, [[4, 1]]),
        lambda: grow(document, alike, (20, 30), 0.5),
    ]
    seen = [labels_of(document)]
    areas = [list(document.areas)]
    for step in steps:
        step()
        seen.append(labels_of(document))
        areas.append(list(document.areas))
        assert np.array_equal(np.bincount(document.pieces.ravel(), minlength=len(document.areas)), document.areas)
    for number in range(len(steps), 0, -1):
        assert document.undo() is not None
        assert np.array_equal(labels_of(document), seen[number - 1])
        assert document.areas == areas[number - 1]
    assert document.undo() is None
    assert np.array_equal(document.pieces, ATOMS)
    assert not document.is_corrected
    for labels in seen[1:]:
        assert document.redo() is not None
        assert np.array_equal(labels_of(document), labels)
    assert document.redo() is None


def document_runs(document: Document, row: int, column: int) -> list[list[int]]:
    """The pieces of the segment at a pixel."""
    owners = document.owners()
    return [[int(piece), 1] for piece in np.flatnonzero(owners == owners[document.pieces[row, column]])]


def test_everything_is_there_after_a_reload(document, tmp_path) -> None:
    join(document, [[3, 1], [6, 1]])
    paint(document, [(20.0, 20.0)], 6.0, [])
    rub_out(document, [(2.0, 2.0)], 2.0)
    document.undo()
    again = Document(tmp_path)
    assert np.array_equal(labels_of(again), labels_of(document))
    assert again.state() == document.state()
    assert (again.areas, again.boxes) == (document.areas, document.boxes)
    again.redo()
    assert labels_of(again)[2, 2] == 0
    while again.undo():
        pass
    assert np.array_equal(again.pieces, ATOMS)


def test_a_new_correction_after_undo_drops_what_was_undone(document, tmp_path) -> None:
    paint(document, [(20.0, 20.0)], 6.0, [])
    paint(document, [(20.0, 40.0)], 6.0, [])
    document.undo()
    paint(document, [(5.0, 55.0)], 3.0, [])
    assert document.redo() is None
    again = Document(tmp_path)
    assert np.array_equal(labels_of(again), labels_of(document))
    again.undo()
    again.undo()
    assert np.array_equal(again.pieces, ATOMS)


def test_a_kill_between_the_journal_and_the_pixels_loses_nothing(document, tmp_path) -> None:
    before = np.array(document.pieces)
    paint(document, [(20.0, 20.0)], 6.0, [])
    wanted = labels_of(document)
    document.pieces[:] = before  # as if the process had died before it wrote them
    document.pieces.flush()
    assert np.array_equal(labels_of(Document(tmp_path)), wanted)


def test_a_line_of_the_journal_that_was_cut_short_never_happened(document, tmp_path) -> None:
    join(document, [[1, 2]])
    wanted = labels_of(document)
    with document.journal.path.open("ab") as file:
        file.write(b'{"do":{"kind":"erase","pins":[[1,6,')
    again = Document(tmp_path)
    assert np.array_equal(labels_of(again), wanted)
    erase(again, [[6, 1]])
    assert len(Document(tmp_path).done) == 2


def test_a_cut_follows_the_edge_and_the_larger_part_keeps_its_pieces(make_document) -> None:
    whole = make_document(Segmentation.from_labels(np.ones((40, 60), int)))
    cut(whole, [[1, 1]], [[(0.0, 27.0), (39.0, 27.0)]])
    labels = labels_of(whole)
    border = (labels[:, 1:] != labels[:, :-1]).argmax(axis=1) + 1
    assert np.abs(border - 30).max() <= 1
    assert sorted(s.area for s in whole.segmentation()) == sorted([whole.areas[1], whole.areas[2]])


def test_a_stroke_that_cuts_nothing_says_so_and_changes_nothing(document) -> None:
    with pytest.raises(UpsegError, match="does not cut"):
        cut(document, [[1, 1]], [[(0.0, 50.0), (39.0, 50.0)]])
    assert document.done == []


def test_paint_goes_to_the_chosen_segment_and_without_one_to_a_new_one(document) -> None:
    paint(document, [(10.0, 45.0)], 4.0, [[1, 2]])
    labels = labels_of(document)
    assert labels[10, 45] == labels[10, 5]
    paint(document, [(30.0, 50.0)], 4.0, [])
    found = document.segmentation()
    assert found[int(found.labels[30, 50])].area == 49


def test_holes_are_filled_whatever_they_are_of(make_document) -> None:
    labels = np.ones((40, 60), int)
    labels[10:20, 10:20] = 2
    labels[25:30, 30:40] = 0
    document = make_document(Segmentation.from_labels(labels))
    fill_holes(document, [[1, 1]])
    assert [s.area for s in document.segmentation()] == [2400]


def test_names_become_classes_beside_those_of_the_model(make_document) -> None:
    labels = np.repeat([[1, 2, 3, 4]], 15, axis=1).repeat(40, axis=0)
    given = Segmentation.from_labels(labels, categories={1: Category(7, "sky", is_thing=False)}, scores={1: 0.5})
    document = make_document(given)
    name(document, [[[2, 1]], [[3, 1]]], "cup")
    found = document.segmentation()
    assert [s.category.name if s.category else None for s in found] == ["sky", "cup", "cup", None]
    assert found[1] == given[1]
    assert found[2].category == Category(8, "cup")
    name(document, [[[2, 1]]], None)
    assert document.segmentation()[2].category is None


@pytest.mark.parametrize("text", ["", "x" * 101, "a\x00b"])
def test_names_that_are_none_are_refused(document, text) -> None:
    with pytest.raises(UpsegError, match="printable"):
        name(document, [[[1, 1]]], text)


@pytest.mark.parametrize("runs", [[], [[0, 1]], [[7, 1]], [[3, 9]], [[1]], [[1, -3]], [[1, 0]]])
def test_pieces_that_there_are_not_are_refused(document, runs) -> None:
    with pytest.raises(UpsegError):
        join(document, runs)
    assert document.done == []


def test_strokes_out_of_bounds_are_refused(document) -> None:
    for stroke, radius in (([], 2.0), ([(1.0, 1.0)], -1.0), ([(1.0, 1.0)], 1e9), ([(500.0, 500.0)], 2.0)):
        with pytest.raises(UpsegError):
            paint(document, stroke, radius, [])


def test_void_stays_void_and_a_result_without_segments_can_be_painted_on(make_document) -> None:
    document = make_document(Segmentation.from_labels(np.zeros((40, 60), int)))
    assert len(document.segmentation()) == 0
    paint(document, [(20.0, 30.0)], 5.0, [])
    assert [s.area for s in document.segmentation()] == [81]


def test_chosen_pieces_become_one_segment(document) -> None:
    found = document.segmentation(np.array([1, 6]))
    assert [s.area for s in found] == [800]


def test_parts_are_levels_too() -> None:
    labels = np.array([[1, 2, 3, 4]])
    result = Segmentation.from_labels(labels, parents={3: 2, 2: 1})
    tree, scale = tree_of_parents(result)
    levels = {tuple(tree.cut(height).tolist()) for height in (scale, 0.6 * scale, -1.0)}
    assert levels == {(0, 0, 0, 3), (0, 1, 1, 3), (0, 1, 2, 3)}


def test_a_picture_is_kept_in_all_its_sizes(make_document, tmp_path) -> None:
    from upseg.app.pictures import label_tile, level_count, picture_tile, read_picture

    image = photo((600, 1100))
    labels = np.arange(600 * 1100, dtype=np.int32).reshape(600, 1100) // 5000 + 1
    document = make_document(Segmentation.from_labels(labels), image)
    assert level_count((600, 1100)) == 3
    assert np.abs(read_picture(tmp_path) - image).max() < 1 / 255
    assert picture_tile(tmp_path, 0, 1, 2) is not None
    assert picture_tile(tmp_path, 0, 2, 0) is None
    assert picture_tile(tmp_path, 3, 0, 0) is None
    import zlib

    tile = np.frombuffer(zlib.decompress(label_tile(document.pieces, 1, 0, 1)), "<i4").reshape(300, 38)
    assert np.array_equal(tile, document.pieces[1::2, 1025::2])
    assert label_tile(document.pieces, 0, 2, 0) is None
