"""The page in a real browser: each thing that a person can do is one scenario."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.app.browser import WAIT, Page, a_browser
from tests.app.conftest import TREE
from tests.app.serving import served
from upseg.app.pictures import store_picture
from upseg.formats import read
from upseg.hierarchy import Hierarchy
from upseg.methods.entity import EntitySegmenter, EntitySettings
from upseg.methods.entity.network import EntityNetwork
from upseg.segmentation import Category, Segmentation

SIDE = 100
ATOMS = np.kron(np.arange(1, 7, dtype=np.int32).reshape(2, 3), np.ones((SIDE, SIDE), np.int32))
"""Six squares, 1 2 3 above 4 5 6; at detail 0.5 the segments are 1-2-3 and 4-5, and 6 alone."""


def photo(shape=(2 * SIDE, 3 * SIDE)) -> np.ndarray:
    image = np.full((*shape, 3), 0.25, np.float32)
    image[:, shape[1] // 2 :] = (0.8, 0.6, 0.4)
    return image


def levels() -> Segmentation:
    hierarchy = Hierarchy(ATOMS, TREE, scale=1.0)
    return Segmentation.from_hierarchy(hierarchy, 0.5, {"method": "dynaseg", "settings": {"detail": 0.5}})


@pytest.fixture(scope="module")
def browser():
    with a_browser() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture
def open_page(browser, server):
    """Opens a result on a page; at the end nothing may have gone wrong in the browser, nor come from elsewhere."""
    opened = []

    def begin(result=None, image=None, **options) -> Page:
        result = levels() if result is None else result
        session = server.session(result, photo(result.shape) if image is None else image)
        opened.append(Page(browser, server.address, session, **options))
        return opened[-1]

    yield begin
    for page in opened:
        page.close()
        assert page.wrong == []
        assert all(url.startswith((server.address, "about:", "blob:")) for url in page.asked)


@pytest.fixture
def page(open_page) -> Page:
    return open_page()


def test_see_segments_outlines_names_and_scores(open_page) -> None:
    labels = np.kron(np.array([[1, 2], [1, 3]]), np.ones((SIDE, SIDE), int))
    result = Segmentation.from_labels(labels, scores={1: 0.87, 2: 0.5}, categories={1: Category(1, "cup")})
    page = open_page(result)
    assert page.count() == 3
    assert page.coloured() > 0.5
    page.page.mouse.move(*page.place(50, 50))
    page.settle()
    assert page.page.locator("#hover").inner_text() == "cup, 20,000 pixels, score 0.87"
    first = page.page.locator("#list button").first
    assert "cup" in first.inner_text()
    assert "20,000 px, 0.87" in first.inner_text()
    lit = page.pixel(50, 50)
    page.page.mouse.move(5, 5)
    page.settle()
    assert page.pixel(50, 50) != lit
    border = page.pixel(50.0, 100.0)
    page.press("o")
    assert page.pixel(50.0, 100.0) != border
    page.page.locator("#opacity").fill("0")
    page.settle()
    assert page.coloured() == 0


def test_see_more_by_zooming_and_moving_with_wheel_keys_and_buttons(page) -> None:
    before = page.pixel(50, 299, "photo")
    page.page.mouse.move(*page.place(10, 10))
    for _ in range(3):
        page.page.mouse.wheel(0, -400)
        page.settle()
    assert page.coloured() > 0.95
    page.press("0")
    assert page.pixel(50, 299, "photo") == before
    page.press("+", "+", "+")
    page.tool("move")
    page.drag((50, 50), (90, 90))
    page.press("0", "v")
    assert page.pixel(50, 299, "photo") == before


def test_two_fingers_zoom_and_move_and_choose_nothing(open_page) -> None:
    page = open_page(has_touch=True)
    before = page.pixel(50, 299, "photo")
    left, right_of_it = page.pixel(50, 140, "photo"), page.pixel(50, 160, "photo")
    fingers = page.context.new_cdp_session(page.page)
    (x, y), (right, bottom) = page.place(50, 50), page.place(50, 150)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": px, "y": py, "id": number} for number, (px, py) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (x, y))
    touch("touchStart", (x, y), (right, bottom))
    for step in range(1, 9):  # apart, twice as far at the end
        far = (right - x) / 16 * step
        touch("touchMove", (x - far, y), (right + far, bottom))
    touch("touchEnd")
    page.settle()
    assert page.chosen() == 0
    # the edge of the photo's halves was below the second finger, and went with it
    assert page.pixel(50, 190, "photo") == pytest.approx(left, abs=10)
    assert page.pixel(50, 210, "photo") == pytest.approx(right_of_it, abs=10)
    page.press("0")
    assert page.pixel(50, 299, "photo") == before


def test_the_slider_shows_every_level_at_once_and_keeps_where_it_was_left(page) -> None:
    slider = page.page.locator("#detail")
    for detail in (0.0, 0.3, 0.5, 0.85, 1.0):
        slider.fill(str(detail))
        page.settle()
        assert page.count() == len(levels().at(detail))
    page.press(",", ",")
    assert float(slider.input_value()) == 0.96
    page.page.reload()
    page.wait_for_segments()
    assert float(page.page.locator("#detail").input_value()) == 0.96


def test_parts_are_levels_of_results_that_name_parents(open_page) -> None:
    labels = np.kron(np.array([[1, 2], [1, 3]]), np.ones((SIDE, SIDE), int))
    page = open_page(Segmentation.from_labels(labels, parents={2: 1}))
    assert page.count() == 3
    page.page.locator("#detail").fill("0")
    page.settle()
    assert page.count() == 2
    page.click(150, 150)
    assert page.chosen() == SIDE * SIDE
    page.click(50, 150)
    assert page.chosen() == 3 * SIDE * SIDE


def test_point_again_for_the_parent_alt_for_a_part_shift_for_more(page) -> None:
    area = SIDE * SIDE
    page.click(150, 50)
    assert page.chosen() == 2 * area
    page.click(150, 50)
    assert page.chosen() == 3 * area
    page.click(150, 50)
    assert page.chosen() == 6 * area
    page.click(150, 50, "Alt")
    assert page.chosen() == 3 * area
    page.click(150, 50, "Alt")
    page.click(150, 50, "Alt")
    assert page.chosen() == area
    page.click(150, 250, "Shift")
    assert page.chosen() == 2 * area
    page.click(150, 250, "Shift")
    assert page.chosen() == area
    page.press("Escape")
    assert page.chosen() == 0


def test_point_at_what_lies_in_a_rectangle_or_a_lasso(page) -> None:
    page.tool("rectangle")
    page.drag((101, 1), (199, 199))
    assert page.chosen() == 2 * SIDE * SIDE
    page.tool("lasso")
    page.drag((96, 196), (96, 299), (204, 299), (204, 196), (97, 196))
    assert page.chosen() == SIDE * SIDE


def test_correct_by_merging_naming_and_erasing(page) -> None:
    page.click(50, 50)
    page.click(150, 250, "Shift")
    page.press("m")
    assert page.count() == 2
    assert page.chosen() == 4 * SIDE * SIDE
    page.press("n")
    page.page.keyboard.type("cup")
    page.press("Enter")
    assert page.page.locator("#list button", has_text="cup").count() == 1
    page.page.locator("#stage").focus()
    page.press("Escape")
    page.click(150, 50)
    page.press("Delete")
    assert page.count() == 1
    assert page.pixel(150, 50)[3] == 0
    page.press("Control+z", "Control+z", "Control+z")
    assert page.count() == 3
    assert page.page.locator("#undo").is_disabled()


def test_correct_by_cutting_along_a_line_and_between_two_strokes(page) -> None:
    page.click(50, 50)
    page.tool("cut")
    page.drag((-8, 160), (40, 155), (110, 155))
    assert page.count() == 4
    page.tool("point")
    page.click(50, 50)
    assert abs(page.chosen() - 1.5 * SIDE * SIDE) < 0.05 * SIDE * SIDE  # the photo's edge is at 150
    page.tool("cut")
    page.drag((20, 10), (80, 15))
    page.drag((20, 130), (80, 130))
    assert page.count() == 5


def test_correct_by_painting_rubbing_out_and_filling_holes_and_undo_it_after_a_reload(page) -> None:
    page.click(50, 50)
    before = page.chosen()
    page.tool("paint")
    page.drag((120, 30), (120, 70))
    painted = page.chosen()
    assert painted > before + 500
    page.press("Escape")
    page.tool("rub")
    page.drag((50, 50), (50, 55))
    page.wait_for_segments()
    page.tool("point")
    page.click(10, 10)
    assert page.chosen() < painted - 300
    page.press("f")
    assert page.chosen() == painted
    page.page.reload()
    page.wait_for_segments()
    page.press("Control+z", "Control+z")
    page.click(10, 10)
    assert page.chosen() == painted
    page.press("Control+z")
    page.click(10, 10)
    assert page.chosen() == before
    page.press("Control+Shift+Z")
    page.click(10, 10)
    assert page.chosen() == painted


def test_everything_can_be_done_with_the_keyboard(page) -> None:
    page.page.locator("#stage").focus()
    for _ in range(8):
        page.page.keyboard.press("Shift+ArrowLeft")
    page.press("ArrowRight")
    page.press("Enter")
    taken = page.chosen()
    assert taken > 0
    page.press("Enter")
    assert page.chosen() > taken
    page.press("Alt+Enter")
    assert page.chosen() == taken
    page.press("b", " ", "ArrowDown", "ArrowDown", " ", "Enter")
    assert not page.page.locator("#undo").is_disabled()
    page.press("?")
    assert page.page.locator("#help").is_visible()
    assert "Rub out" in page.page.locator("#keys").inner_text()
    page.press("Escape")
    assert not page.page.locator("#help").is_visible()


def test_take_away_a_format_and_a_cut_out(page, tmp_path) -> None:
    page.page.select_option("#format", "png")
    saved = tmp_path / "photo.png"
    saved.write_bytes(Path(page.saved("#take")).read_bytes())
    assert np.array_equal(read(saved).labels, levels().labels)
    page.click(150, 250)
    cut = np.asarray(Image.open(page.saved("#cutout")))
    assert cut.shape == (SIDE, SIDE, 4)
    assert (cut[..., 3] == 255).all()


def test_depth_is_another_picture_where_there_is_any(open_page, server) -> None:
    image, near = photo(), np.linspace(0, 1, 3 * SIDE, dtype=np.float32)
    page = open_page()
    assert page.page.locator("#layer").is_disabled()
    (session,) = [s for s in server.desk.sessions.all() if s.id in page.page.url]
    store_picture(np.broadcast_to(near[None, :, None], image.shape).copy(), session.folder, "depth")
    page.open(session.id)
    before = page.pixel(50, 50, "photo")
    page.page.select_option("#layer", "depth")
    page.settle()
    assert page.pixel(50, 50, "photo") != before
    assert page.pixel(50, 50, "photo")[0] < page.pixel(50, 250, "photo")[0]
    page.page.select_option("#layer", "picture")
    page.settle()
    assert page.pixel(50, 50, "photo") == before


def test_a_folder_of_images_is_chosen_or_dropped(browser, tmp_path) -> None:
    from playwright.sync_api import expect

    for name in ("a.png", "deep/b.png"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(np.rint(photo((40, 60)) * 255).astype(np.uint8)).save(path)
    (tmp_path / "mine" / "notes.txt").write_text("not an image")
    with served(tmp_path / "work") as running:
        page = Page(browser, running.address)
        page.page.locator("#folder-files").set_input_files(tmp_path / "mine")
        expect(page.page.locator("#sessions li")).to_have_count(2, timeout=WAIT)
        drop = page.context.new_cdp_session(page.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            what = {"items": [], "files": [str(tmp_path / "mine")], "dragOperationsMask": 1}
            drop.send("Input.dispatchDragEvent", {"type": kind, "x": 500, "y": 400, "data": what})
        expect(page.page.locator("#sessions li")).to_have_count(4, timeout=WAIT)
        assert sorted(session.facts["name"] for session in running.desk.sessions.all()) == ["a.png", "a.png", "b.png", "b.png"]
        page.close()
        assert page.wrong == []


def test_large_images_are_shown_as_tiles_and_few_of_them_are_kept(open_page) -> None:
    shape = (3000, 4000)
    atoms = np.kron(np.arange(1, 7, dtype=np.int32).reshape(2, 3), np.ones((1500, 1334), np.int32))[:, :4000]
    result = Segmentation.from_hierarchy(Hierarchy(atoms, TREE, 1.0), 0.5, {"method": "dynaseg", "settings": {}})
    page = open_page(result, photo(shape))
    tiles = [url for url in page.asked if "/tiles/" in url or "/pieces/" in url]
    assert 0 < len(tiles) < 40  # the whole image at full size has 96
    page.page.mouse.move(*page.place(100, 100))
    for _ in range(6):
        page.page.mouse.wheel(0, -400)
        page.settle()
    assert any("/pieces/0/" in url for url in page.asked)
    assert page.coloured() > 0.9


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_find_names_roles_and_contrast(open_page, width, scheme) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = open_page(viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True)
    page.click(50, 50)
    for prepare in (lambda: None, lambda: page.press("?"), lambda: (page.press("Escape"), page.page.click("#home"))):
        prepare()
        page.settle()
        found = axe.Axe().run(page.page).response["violations"]
        assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found] == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture
def folder_page(browser, tmp_path):
    """The page of a folder of two photos."""
    from upseg.batch.inputs import find_images

    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.rint(photo((60, 90)) * 255).astype(np.uint8)).save(tmp_path / "photos" / name)
    images = tuple(find_images([tmp_path / "photos"], tmp_path / "work", lambda _: False))
    with served(tmp_path / "work", photos=images) as running:
        page = Page(browser, running.address)
        yield running, page
        page.close()
        assert page.wrong == []


@pytest.mark.slow
def test_a_folder_is_segmented_and_gone_through(folder_page) -> None:
    from playwright.sync_api import expect

    _, page = folder_page
    cards = page.page.locator("#photos button")
    assert cards.all_inner_texts() == ["a.png\nnot segmented", "b.png\nnot segmented"]
    page.page.click("#segment-all")
    expect(cards.nth(1)).not_to_contain_text("not segmented", timeout=WAIT)
    cards.first.click()
    page.wait_for_segments()
    assert page.page.locator("#previous").is_disabled()
    page.press("PageDown")
    expect(page.page.locator("#title")).to_contain_text("b.png")
    assert page.page.locator("#next").is_disabled()
    page.wait_for_segments()
    page.click(30, 10)
    page.press("m")
    assert page.page.locator("#truth").is_checked()
    expect(page.page.locator("#train-note")).to_contain_text("1 corrected image")
    page.press("PageUp")
    expect(page.page.locator("#title")).to_contain_text("a.png")


@pytest.mark.slow
def test_what_was_corrected_trains_a_model_that_can_be_chosen(open_page, server) -> None:
    from playwright.sync_api import expect

    labels = np.zeros((96, 96), int)
    for number in range(9):
        row, column = divmod(number, 3)
        labels[8 + 30 * row : 28 + 30 * row, 8 + 30 * column : 28 + 30 * column] = number + 1
    image = np.where(labels[..., None] > 0, np.float32(0.8), np.float32(0.1)).repeat(3, axis=2)
    for name in ("one.png", "two.png"):
        server.session(Segmentation.from_labels(labels), image, name, truth=True)
    page = open_page(Segmentation.from_labels(labels), image)
    page.page.select_option("#base", "nuclei")
    page.page.fill("#epochs", "1")
    page.page.click("#train")
    expect(page.page.locator("#train-note")).to_contain_text("Trained", timeout=5 * WAIT)
    assert page.page.locator("#curve polyline").get_attribute("points")
    trained = page.page.locator("#model").input_value()
    assert trained.startswith("trained-")
    page.page.click("#segment")
    for _ in range(600):
        if trained in {session.facts.get("model") for session in server.desk.sessions.all()}:
            break
        page.page.wait_for_timeout(100)
    else:
        said = page.page.locator("#messages").all_inner_texts()
        raise AssertionError(f"not segmented with the trained model: {said}")


@pytest.mark.slow
def test_features_are_grouped_again_grown_and_looked_at(open_page, server) -> None:
    from playwright.sync_api import expect

    settings = EntitySettings(backbone="test_resnet", channels=8, dimensions=6)
    network = EntityNetwork(settings.backbone, settings.channels, settings.dimensions, settings.positions).eval()
    EntitySegmenter(settings, network=network).save_pretrained(server.desk.settings.folder / "models" / "lines")
    labels = np.kron(np.array([[1, 0], [0, 2]]), np.ones((48, 48), int))
    image = np.where(labels[..., None] > 0, np.float32(0.8), np.float32(0.1)).repeat(3, axis=2)
    page = open_page(Segmentation.from_labels(labels), image)
    page.page.select_option("#model", "lines")
    page.page.click("[data-tool=grow]")
    page.click(20, 20)
    page.settle()
    page.page.mouse.wheel(0, -100)
    page.click(20, 20)
    expect(page.page.locator("#undo")).to_be_enabled(timeout=5 * WAIT)
    page.page.locator("#bandwidth").fill("40")
    page.page.locator("#bandwidth").dispatch_event("change")
    expect(page.page.locator("#job")).to_be_hidden(timeout=5 * WAIT)
    expect(page.page.locator("#undo")).to_be_disabled(timeout=WAIT)
    before = page.pixel(20, 20, "photo")
    page.page.select_option("#layer", "features")
    expect(page.page.locator("#job")).to_be_hidden(timeout=5 * WAIT)
    page.page.wait_for_timeout(1500)
    assert page.pixel(20, 20, "photo") != before
