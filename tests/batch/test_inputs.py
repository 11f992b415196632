import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upseg.batch.inputs import InputImage, InputKind, OutputPlan, find_images, plan_outputs
from upseg.errors import ImageError, UpsegError


def names(arguments: list, output: Path, results: tuple[str, ...] = ()) -> list[str]:
    return [str(image.name) for image in find_images(arguments, output, results.__contains__)]


def files(arguments: list, output: Path, formats: tuple[str, ...] = ("png",)) -> list[str]:
    images = find_images(arguments, output, lambda _: False)
    return [str(file) for plan in plan_outputs(images, formats, output, arguments).values() for file in plan.files]


@pytest.fixture
def tree(tmp_path, photos) -> Path:
    return photos("b.png", "a.jpg", "sub/c.tif", "sub/deep/d.WEBP".lower(), ".hidden.png", ".git/e.png", "f.bmp")


def test_folders_are_searched_throughout_and_sorted_without_hidden_files(tmp_path, tree) -> None:
    (tree / "notes.txt").write_text("no image")
    (tree / "G.PNG").write_bytes(b"")
    expected = ["G.PNG", "a.jpg", "b.png", "f.bmp", "sub/c.tif", "sub/deep/d.webp"]
    assert names([tree], tmp_path / "out") == expected


def test_the_paths_stay_as_they_were_typed(tree, monkeypatch) -> None:
    monkeypatch.chdir(tree.parent)
    images = find_images(["photos/a.jpg", "photos/sub"], Path("out"), lambda _: False)
    assert [str(image.path) for image in images] == ["photos/a.jpg", "photos/sub/c.tif", "photos/sub/deep/d.webp"]


def test_one_folder_counts_from_itself_and_several_from_what_holds_them_all(tmp_path, tree) -> None:
    out = tmp_path / "out"
    assert names([tree / "sub"], out) == ["c.tif", "deep/d.webp"]
    assert names([tree / "a.jpg"], out) == ["a.jpg"]
    assert names([tree / "a.jpg", tree / "b.png"], out) == ["a.jpg", "b.png"]
    assert names([tree / "sub" / "deep", tree / "a.jpg"], out) == ["a.jpg", "sub/deep/d.webp"]


def test_images_of_one_name_in_two_folders_stay_apart(tmp_path, photos) -> None:
    first, second = photos("1.png", folder="train"), photos("1.png", folder="val")
    assert names([first, second], tmp_path / "out") == ["train/1.png", "val/1.png"]
    assert names([first / "1.png", second / "1.png"], tmp_path / "out") == ["train/1.png", "val/1.png"]


def test_globs_are_expanded_and_count_from_their_fixed_part(tmp_path, tree) -> None:
    out = tmp_path / "out"
    assert names([str(tree / "*.png")], out) == ["b.png"]
    assert names([str(tree / "**" / "*.[tw]*")], out) == ["sub/c.tif", "sub/deep/d.webp"]
    assert names([str(tree / "s*")], out) == ["sub/c.tif", "sub/deep/d.webp"]
    assert names([str(tree / "**")], out) == ["a.jpg", "b.png", "f.bmp", "sub/c.tif", "sub/deep/d.webp"]


def test_a_name_with_the_signs_of_a_glob_is_found_if_it_exists(tmp_path, photos) -> None:
    folder = photos("a[1].png", "a1.png")
    assert names([str(folder / "a[1].png")], tmp_path / "out") == ["a[1].png"]


def test_each_image_is_taken_once(tmp_path, tree) -> None:
    arguments = [tree / "a.jpg", str(tree / "sub" / ".." / "a.jpg"), str(tree / "a*"), tree / "a.jpg"]
    assert names(arguments, tmp_path / "out") == ["a.jpg"]


def test_a_file_named_outright_may_be_called_anything(tmp_path) -> None:
    (tmp_path / "scan.001").touch()
    assert names([tmp_path / "scan.001"], tmp_path / "out") == ["scan.001"]
    assert files([tmp_path / "scan.001"], tmp_path / "out") == ["scan.001.png"]


@pytest.mark.parametrize("output", ["out", "sub/out", "photos2/../out"])
def test_the_folder_of_results_is_no_input_where_it_lies_inside(tree, output) -> None:
    out = tree / output
    out.resolve().mkdir(parents=True)
    (out.resolve() / "a.png").touch()
    assert "out/a.png" not in " ".join(names([tree], out))
    assert "out/a.png" not in " ".join(names([str(tree / "**" / "*.png")], out))


def test_results_of_earlier_runs_are_no_inputs_wherever_they_are_named(tmp_path, tree) -> None:
    assert names([str(tree / "*")], tree, ("b.png",)) == ["a.jpg", "f.bmp", "sub/c.tif", "sub/deep/d.webp"]
    with pytest.raises(ImageError, match="no such file"):
        names([tree / "b.png"], tree, ("b.png",))


def test_what_is_not_there_is_named_beside_what_is(tmp_path, tree) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [tree / "b.png", tree / "missing.png", str(tree / "*.gif"), tmp_path / "empty"]
    images = find_images(arguments, tmp_path / "out", lambda _: False)
    problems = " ".join(image.problem for image in images if image.problem)
    assert "missing.png: no such file" in problems
    assert "*.gif: no image matches this pattern" in problems
    assert "empty: no image in this folder (looked for .bmp" in problems
    assert sum(image.problem is None for image in images) == 1


@pytest.mark.parametrize("argument", ["empty", "missing.png", "*.png"])
def test_nothing_at_all_is_an_error(tmp_path, argument) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"no image in this folder|no such file|no image matches"):
        names([str(tmp_path / argument)], tmp_path / "out")
    with pytest.raises(ImageError, match="no image to segment was named"):
        names([], tmp_path / "out")


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path, tree) -> None:
    (tree / "link.png").symlink_to(tree / "b.png")
    (tree / "loop").symlink_to(tree)
    assert names([tree], tmp_path / "out").count("link.png") == 1
    assert not any(name.startswith("loop") for name in names([tree], tmp_path / "out"))
    (tmp_path / "way-in").symlink_to(tree / "sub")
    assert names([tmp_path / "way-in"], tmp_path / "out") == ["c.tif", "deep/d.webp"]


def test_results_are_called_like_their_images(tmp_path, tree) -> None:
    assert files([tree / "sub"], tmp_path / "out", ("png", "coco", "overlay")) == [
        "c.png",
        "c.json",
        "c.overlay.png",
        "deep/d.png",
        "deep/d.json",
        "deep/d.overlay.png",
    ]


def test_images_that_would_share_a_file_keep_their_whole_names(tmp_path, photos) -> None:
    folder = photos("a.jpg", "a.png", "b.png", "sub/a.png")
    assert files([folder], tmp_path / "out") == ["a.jpg.png", "a.png.png", "b.png", "sub/a.png"]


def test_clashes_between_formats_and_after_lengthening_are_found(tmp_path, photos) -> None:
    folder = photos("a.jpg", "a.overlay.jpg")
    assert files([folder], tmp_path / "out", ("png", "overlay")) == [
        "a.jpg.png",
        "a.jpg.overlay.png",
        "a.overlay.jpg.png",
        "a.overlay.jpg.overlay.png",
    ]
    chain = photos("c.jpg", "c.png", "c.jpg.tif", folder="chain")
    assert files([chain], tmp_path / "out") == ["c.jpg.png", "c.jpg.tif.png", "c.png.png"]


def test_names_that_only_some_file_systems_tell_apart_are_kept_apart(tmp_path, photos) -> None:
    folder = photos("A.jpg", "a.png")
    assert files([folder], tmp_path / "out") == ["A.jpg.png", "a.png.png"]


def test_a_result_never_replaces_an_image(photos) -> None:
    folder = photos("a.png", "b.jpg")
    with pytest.raises(UpsegError, match=r"a.png is an image to segment; write somewhere else"):
        files([folder / "a.png", folder / "b.jpg"], folder)
    (folder.parent / "out").mkdir()
    os.link(folder / "a.png", folder.parent / "out" / "b.png")
    with pytest.raises(UpsegError, match=r"b.png is an image to segment"):
        files([folder], folder.parent / "out")


def test_results_are_never_put_among_images_that_the_next_run_would_find(photos) -> None:
    folder = photos("a.jpg", "sub/b.jpg")
    with pytest.raises(UpsegError, match="results would lie among the images"):
        files([folder], folder)
    with pytest.raises(UpsegError, match="results would lie among the images"):
        files([folder / "sub", folder / "a.jpg"], folder)
    assert files([folder], folder / "out") == ["a.png", "sub/b.png"]
    assert files([folder / "a.jpg"], folder) == ["a.png"]


def test_links_in_the_folder_of_results_do_not_lead_out_of_it(tmp_path, photos) -> None:
    folder = photos("sub/a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UpsegError, match="lies outside"):
        files([folder], tmp_path / "out")


def test_dots_in_what_is_typed_do_not_lead_out_of_the_folder_of_results(tmp_path, photos, monkeypatch) -> None:
    folder = photos("sub/a.jpg", "b.jpg")
    monkeypatch.chdir(folder / "sub")
    assert files(["../b.jpg", "."], tmp_path / "out") == ["b.png", "sub/a.png"]
    assert files(["../s*/../*.jpg"], tmp_path / "out") == ["b.png"]


def test_another_kind_of_input_has_its_own_suffixes_and_words(tmp_path, tree) -> None:
    kind = InputKind("mask", "split", frozenset({".png", ".tif"}))
    found = find_images([tree], tmp_path / "out", lambda _: False, kind)
    assert [str(image.name) for image in found] == ["b.png", "sub/c.tif"]
    assert [str(image.key) for image in found] == ["b", "sub/c"]
    with pytest.raises(ImageError, match=r"no mask in this folder \(looked for .png, .tif\)"):
        find_images([tree / "sub" / "deep"], tmp_path / "out", lambda _: False, kind)
    with pytest.raises(UpsegError, match=r"b.png is a mask to split; write"):
        plan_outputs(found, ["png"], tree, [tree], kind=kind)


def test_a_reserved_file_is_no_result_of_an_image_and_protected_files_are_not_replaced(tmp_path, photos) -> None:
    folder, out = photos("all.png", "b.png"), tmp_path / "out"
    images = find_images([folder], out, lambda _: False)
    plans = plan_outputs(images, ["coco"], out, [folder], reserved=PurePosixPath("all.json"))
    assert [str(plan.files[0]) for plan in plans.values()] == ["all.png.json", "b.json"]
    out.mkdir()
    (out / "b.json").touch()
    (out / "all.json").touch()
    for name in ("b.json", "all.json"):
        with pytest.raises(UpsegError, match=rf"{name} is a list; write somewhere else"):
            plan_outputs(
                images, ["coco"], out, [], reserved=PurePosixPath("all.json"), protected={out / name: "a list"}
            )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "a.png", "a.jpg", "a.jpg.tif", "a.overlay.png", "A.png", "b/a.gif", "b/a.bmp"]),
        unique=True,
    ),
    st.lists(st.sampled_from(["png", "overlay", "panoptic", "coco", "npz"]), min_size=1, unique=True),
)
def test_no_two_images_ever_share_a_file(tmp_path_factory, chosen, formats) -> None:
    images = [InputImage(Path(name), PurePosixPath(name)) for name in chosen]
    plans = plan_outputs(images, formats, Path("nowhere"), [])
    written = [str(file) for plan in plans.values() for file in plan.files]
    assert len(written) == len(set(written))
    for image, plan in plans.items():
        assert plan in (OutputPlan.of(image.name, formats), OutputPlan.of(image.name.with_suffix(""), formats))


def test_results_that_cannot_be_told_apart_are_refused() -> None:
    images = [InputImage(Path(name), PurePosixPath(name)) for name in ("a.jpg.overlay", "a.jpg", "a.png")]
    with pytest.raises(UpsegError, match=r"a.jpg.overlay and a.jpg would get the same names"):
        plan_outputs(images, ["png", "overlay"], Path("nowhere"), [])
