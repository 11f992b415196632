"""Folders, training and features on the page, in a real browser."""

import numpy as np
import pytest
from PIL import Image

from tests.app.browser import WAIT, Page
from tests.app.serving import served
from tests.app.squares import photo
from upseg.methods.entity import EntitySegmenter, EntitySettings
from upseg.methods.entity.network import EntityNetwork
from upseg.segmentation import Segmentation


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
        names = sorted(session.facts["name"] for session in running.desk.sessions.all())
        assert names == ["a.png", "a.png", "b.png", "b.png"]
        page.close()
        assert page.wrong == []


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
    expect(page.page.locator("#train-note")).to_contain_text("Trained", timeout=10 * WAIT)
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
