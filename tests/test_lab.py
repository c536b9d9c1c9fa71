"""The lab of the built site, used as a reader uses it: in a browser, with nothing but a server of
files.
"""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import trimesh
from browsers import AT_REST, SITE, needs_chromium, violations
from PIL import Image

from mofa_lib.web import verify_run

DATA = SITE / "_static" / "lab" / "data"
MINUTE = 60_000

pytestmark = [
    pytest.mark.xdist_group("lab"),  # one page for all
    pytest.mark.skipif(not (DATA / "lab.json").exists(), reason="no site: `make book`"),
    needs_chromium,
]


class Lab:
    """A page with the lab, and what a reader does there."""

    def __init__(self, browser, address, **context):
        self.page = browser.new_page(accept_downloads=True, **context)
        self.page.set_default_timeout(MINUTE)
        self.address, self.requested, self.errors = address, [], []
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: line.type == "error" and self.errors.append(line.text))

    @property
    def foreign(self) -> list[str]:
        return [
            url for url in self.requested if not url.startswith((self.address, "data:", "blob:"))
        ]

    def open(self) -> "Lab":
        self.page.goto(f"{self.address}/book/lab.html")
        self.page.wait_for_selector("#lab-notice", state="hidden")
        return self

    def load(self) -> "Lab":
        self.page.click("#lab-load")
        self.page.wait_for_selector("#lab-room")
        return self

    def text(self, name: str) -> str:
        return self.page.locator(f"#lab-{name}").inner_text()

    def choose(self, **values) -> None:
        """Radio buttons, which lie invisibly under a picture or a word, by their names."""
        for name, value in values.items():
            self.page.locator(f"[name={name}][value='{value}']").check(force=True)
        self.settle()

    def settle(self) -> None:
        """Wait until the worker has answered everything and the page shows it."""
        self.page.wait_for_function(
            "() => document.querySelector('#lab-room').getAttribute('aria-busy') !== 'true'"
        )
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def set_up(self, experiment: int, steps: int) -> None:
        """An experiment by its number, shortened."""
        item = self.page.locator("#lab-experiments > details").nth(experiment - 1)
        if item.get_attribute("open") is None:
            item.locator("> summary").click()
        item.locator("button").click()
        self.page.fill("[name=steps]", str(steps))
        self.settle()

    def attack(self) -> None:
        self.page.click("#lab-start")
        self.page.wait_for_selector("#lab-start:enabled")
        self.settle()

    def course(self) -> list[float]:
        cells = self.page.locator("#lab-course tbody td:nth-child(2)").all_text_contents()
        return [float(cell) for cell in cells]

    def cells(self, table: str, column: int) -> list[str]:
        return self.page.locator(f"#lab-{table} tbody tr > :nth-child({column})").all_inner_texts()

    def canvas(self, name: str) -> np.ndarray:
        content = self.page.evaluate(
            "(id) => document.getElementById(id).toDataURL().split(',')[1]", f"lab-{name}"
        )
        return picture(content)

    def head(self, name: str) -> np.ndarray:
        return np.array(
            Image.open(io.BytesIO(self.page.locator(f"[data-head={name}]").screenshot())).convert(
                "RGB"
            )
        )

    def saved(self, kind: str) -> bytes:
        with self.page.expect_download() as download:
            self.page.click(f"[data-save={kind}]")
        return Path(download.value.path()).read_bytes()

    def fault(self) -> str:
        self.page.wait_for_selector("#lab-fault")
        return self.page.locator("#lab-fault p").inner_text()


def picture(content: str | bytes) -> np.ndarray:
    """RGB of an image file, or of its base64."""
    content = base64.b64decode(content) if isinstance(content, str) else content
    return np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def lab(browser, address):
    """One lab for all tests in which nothing goes wrong; that nothing did is seen in the end."""
    lab = Lab(browser, address).open().load()
    yield lab
    assert not lab.foreign
    assert not lab.errors
    lab.page.close()


@pytest.fixture
def fresh(browser, address):
    """A lab of one's own, to break it."""
    lab = Lab(browser, address)
    yield lab
    assert not lab.foreign
    lab.page.close()


def test_nothing_large_is_fetched_before_the_reader_asks(fresh):
    fresh.open()
    fresh.page.wait_for_selector("#lab-load:enabled")
    fresh.page.wait_for_load_state("networkidle")
    files = json.loads((DATA / "lab.json").read_text())["files"]
    runtime = json.loads((SITE / "_static/vendor/lab_runtime.json").read_text())
    sizes = [*runtime.values(), *(files[f"{graph}.onnx"] for graph in ("attack", "face", "scores"))]
    assert fresh.text("load") == f"Load the lab ({sum(sizes) / 1e6:.1f} MB)"
    assert not [
        url for url in fresh.requested if re.search(r"\.onnx|\.wasm|/three/|/gallery/", url)
    ]
    assert not fresh.errors


def test_the_loss_falls_and_the_head_becomes_somebody_else(lab):
    lab.set_up(1, steps=8)
    lab.page.locator("#lab-epsilon").fill("0.05")
    before = lab.head("now")
    np.testing.assert_array_equal(lab.canvas("change"), 128)
    lab.attack()
    course = lab.course()
    assert len(course) == 9
    assert course[-1] < 0.8 * course[0]
    assert "Done after 8 steps" in lab.text("status")
    assert "from" in lab.page.locator("#lab-curve").get_attribute("aria-label")
    assert np.abs(lab.head("now").astype(int) - before).max() > 20
    assert lab.canvas("change").std() > 10
    levels = int(re.search(r"Largest change: (\d+)/255", lab.text("numbers"))[1])
    assert 0 < levels <= 13
    assert np.abs(lab.canvas("now") - lab.canvas("original")).max() == levels


def test_results_can_be_saved(lab):
    lab.set_up(4, steps=3)
    lab.attack()
    run = json.loads(lab.saved("json"))
    about = json.loads((DATA / "lab.json").read_text())
    assert run["format"] == "mofa-lab-run-1"
    assert run["weights_digest"] == about["weights_digest"]
    assert run["weights"] == {group["name"]: group["weight"] for group in about["groups"]}
    assert len(run["course"]) == run["steps"] + 1 == 4
    assert run["best"]["distance"] == min(run["course"])
    assert sum(run["best"]["terms"].values()) == pytest.approx(run["best"]["distance"], rel=1e-4)
    assert run["scores"] is None
    assert run["clip_inside"] is False

    png = picture(lab.saved("png"))
    assert png.shape == (about["size"], about["size"], 3)
    np.testing.assert_array_equal(png, picture(run["adversarial"]))
    change = int(np.abs(png - picture(run["original"])).max())
    assert 0 < change <= 255 * run["epsilon"] + 0.5
    np.testing.assert_array_equal(
        picture(run["original"]), picture((DATA / about["gallery"][0]["file"]).read_bytes())
    )

    (head,) = trimesh.load(
        io.BytesIO(lab.saved("glb")), file_type="glb", process=False
    ).geometry.values()
    assert head.vertices.shape == (about["vertices"], 3)
    assert head.faces.shape == (about["triangles"], 3)
    assert 0.1 < np.ptp(head.vertices, 0).max() < 0.5  # metres
    assert head.visual.vertex_attributes["color"].std() > 0.02


def test_the_library_agrees_about_a_saved_run(lab, tmp_path):
    lab.set_up(4, steps=3)
    lab.attack()
    (tmp_path / "run.json").write_bytes(lab.saved("json"))
    found = verify_run(tmp_path / "run.json")
    assert found["distance"] == pytest.approx(found["claimed"], rel=0.02)


def test_the_clip_inside_the_loss_freezes(lab):
    lab.set_up(2, steps=4)
    assert lab.page.is_checked("[name=clipInside]")
    lab.attack()
    start, first, *rest = lab.course()
    assert abs(first - start) > 0.01
    # Where the first gradient is exactly 0, a pixel still moves later.
    assert rest == pytest.approx([first] * 3, abs=1e-3)


def test_half_a_grey_level_does_not_survive_a_file(lab):
    lab.set_up(3, steps=4)
    lab.attack()
    assert lab.course()[-1] < lab.course()[0]
    lab.choose(treatment="rounded")
    assert "Largest change: 0/255" in lab.text("numbers")
    np.testing.assert_array_equal(lab.canvas("change"), 128)
    assert lab.cells("terms", 3) == ["100 %"] * 5


def test_the_detector_is_loaded_when_it_is_wanted(lab):
    assert not [url for url in lab.requested if url.endswith("reform.onnx")]
    lab.set_up(5, steps=5)
    lab.page.wait_for_selector("#lab-scores")
    assert [url for url in lab.requested if url.endswith("reform.onnx")]
    lab.settle()
    clean = lab.cells("scores", 3)
    assert len(clean) == 5
    assert all(re.fullmatch(r"\d+\.\d\d ×", score) for score in clean)
    assert [score.split(",")[0].strip() for score in lab.cells("scores", 2)] == clean
    lab.attack()
    assert lab.cells("scores", 3) == clean
    assert [score.split(",")[0].strip() for score in lab.cells("scores", 2)] != clean
    assert set(json.loads(lab.saved("json"))["scores"]) == {"l1", "l2", "linf", "js", "cosine"}


def test_who_knows_the_detector_is_not_seen_by_it(lab):
    limits = json.loads((DATA / "lab.json").read_text())["thresholds"]
    runs, steps = {}, 15
    lab.set_up(7, steps)
    for who, knows in [("blind", False), ("knows", True), ("blind again", False)]:
        lab.page.set_checked("#lab-knows", knows)
        lab.attack()
        runs[who] = json.loads(lab.saved("json"))
        assert runs[who]["knows_detector"] == knows
        assert (runs[who]["c"] is not None) == knows
        calls = {name: score > limits[name] for name, score in runs[who]["scores"].items()}
        assert any(calls.values()) != knows
        shown = lab.page.locator("#lab-alarm-curve").get_attribute("aria-label")
        assert (float(re.search(r"(\d+\.\d+) in the end", shown)[1]) > 1.1) != knows
        highest = lab.page.locator("#lab-course tbody td:last-child").all_text_contents()
        known = [cell != "–" for cell in highest]
        assert known == [knows or step % 5 == 0 for step in range(steps + 1)]
    assert runs["knows"]["best"]["distance"] < 0.8 * runs["knows"]["course"][0]
    assert runs["blind"]["course"] == runs["blind again"]["course"] != runs["knows"]["course"]


def test_c_is_a_slider(lab):
    lab.set_up(7, steps=2)
    lab.page.wait_for_selector("#lab-c")
    slider = lab.page.locator("#lab-c")
    assert slider.get_attribute("aria-valuetext") == lab.text("c-words") == "0.1"
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == lab.text("c-words") == "0.32"
    lab.attack()
    assert json.loads(lab.saved("json"))["c"] == 0.32
    lab.page.uncheck("#lab-knows")
    assert slider.is_hidden()


def test_defences_change_what_the_encoder_reads(lab):
    lab.set_up(6, steps=5)
    lab.attack()
    attacked = lab.canvas("now")
    for treatment in ("noisy", "reformed"):
        lab.choose(treatment=treatment)
        assert np.abs(lab.canvas("now") - attacked).mean() > 1
        assert all(re.fullmatch(r"−?\d+ %", cell) for cell in lab.cells("terms", 3))
    lab.choose(base="original", treatment="plain")
    np.testing.assert_array_equal(lab.canvas("now"), lab.canvas("original"))
    assert set(lab.cells("terms", 3)) == {"–"}


def test_another_face_begins_anew(lab):
    lab.choose(original="2", target="3")
    assert lab.page.is_disabled("[data-save=png]")
    gallery = json.loads((DATA / "lab.json").read_text())["gallery"]
    np.testing.assert_array_equal(
        lab.canvas("original"), picture((DATA / gallery[2]["file"]).read_bytes())
    )
    np.testing.assert_array_equal(
        lab.canvas("target"), picture((DATA / gallery[3]["file"]).read_bytes())
    )
    lab.choose(original="0", target="1")


def test_an_attack_can_be_stopped(lab):
    lab.set_up(1, steps=400)
    lab.page.click("#lab-start")
    lab.page.wait_for_function(
        "() => /^step [3-9]/.test(document.querySelector('#lab-step').textContent)"
    )
    lab.page.click("#lab-stop")
    lab.page.wait_for_selector("#lab-start:enabled")
    lab.settle()
    assert 3 < len(lab.course()) < 400
    assert lab.text("status").startswith("Stopped after")
    assert lab.page.is_enabled("[data-save=png]")


def test_a_photograph_is_cut_by_hand_and_goes_nowhere(lab, tmp_path):
    ramp = np.stack(
        np.broadcast_arrays(np.arange(400)[:, None] // 2, np.arange(300) // 2, 90), -1
    ).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "me.png")
    asked = len(lab.requested)
    lab.page.set_input_files("#lab-photo", tmp_path / "me.png")
    lab.page.wait_for_selector("#lab-crop")
    for key in ["+", "+", "ArrowRight", "ArrowDown"]:
        lab.page.keyboard.press(key)
    box = lab.page.locator("#lab-crop canvas").bounding_box()
    lab.page.mouse.move(box["x"] + 100, box["y"] + 100)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + 60, box["y"] + 60, steps=3)
    lab.page.mouse.up()
    lab.page.locator("#lab-crop [name=turn]").focus()
    lab.page.keyboard.press("ArrowRight")
    lab.page.click("text=Use this cut")
    lab.page.wait_for_selector("[name=original][value=own]:checked", state="attached")
    lab.settle()
    cut = lab.canvas("original")
    ramp = cut[56, 8:100, 1]  # beside it there may be no photograph
    assert (np.diff(ramp) >= 0).all()
    assert ramp[-1] > ramp[0] + 40
    assert not [url for url in lab.requested[asked:] if not url.startswith("blob:")]
    assert lab.page.locator("[name=target][value=own]").count() == 0
    lab.set_up(1, steps=3)
    lab.attack()
    np.testing.assert_array_equal(picture(json.loads(lab.saved("json"))["original"]), cut)
    lab.choose(original="0")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("broken.png", b"\x89PNG\r\n\x1a\nno more", "is no picture"),
        ("small.png", None, "is too small: 60 × 80 pixels"),
    ],
)
def test_a_photograph_that_is_none(lab, tmp_path, name, content, sentence):
    if content is None:
        Image.new("RGB", (60, 80)).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    lab.page.set_input_files("#lab-photo", tmp_path / name)
    assert sentence in lab.fault()
    assert lab.page.locator("#lab-again").is_hidden()
    lab.page.click("#lab-dismiss")
    assert lab.page.locator("#lab-fault").is_hidden()


def test_heads_turn_by_keys(lab):
    lab.page.focus("#lab-heads")
    lab.page.keyboard.press("Home")
    lab.settle()
    front = lab.head("target").astype(int)
    lab.page.keyboard.press("ArrowRight")
    lab.settle()
    assert np.abs(lab.head("target") - front).max() > 20
    lab.page.keyboard.press("Home")
    lab.settle()
    assert np.abs(lab.head("target") - front).max() < 3


def test_everything_has_a_name_and_fits_a_phone(lab):
    unnamed = lab.page.evaluate("""() =>
        [...document.querySelectorAll(
            "#lab :is(input, button, canvas, svg, img, progress, dialog)"
        )]
        .filter((it) => !(it.labels?.length || it.textContent.trim() || it.alt))
        .filter((it) => !(it.getAttribute("aria-label") || it.getAttribute("aria-labelledby")))
        .map((it) => it.outerHTML)""")
    assert not unnamed
    lab.page.set_viewport_size({"width": 390, "height": 800})
    lab.page.evaluate(
        "() => document.querySelectorAll('#lab details').forEach((it) => { it.open = true; })"
    )
    assert lab.page.evaluate("() => document.documentElement.scrollWidth") <= 390
    lab.page.wait_for_function(AT_REST)
    assert not violations(lab.page)
    lab.page.set_viewport_size({"width": 1280, "height": 800})


MISSING = [
    ("**/data/lab.json", "lab.json is missing"),
    ("**/data/attack.onnx", "attack.onnx is missing"),
    ("**/ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.wasm is missing"),
    ("**/three.core.js", "three.core.js is missing"),
]


@pytest.mark.parametrize(("pattern", "sentence"), MISSING)
def test_a_missing_file_has_its_sentence_and_another_try(fresh, pattern, sentence):
    fresh.page.route(pattern, lambda route: route.fulfill(status=404), times=1)
    fresh.open()
    if "lab.json" not in pattern:
        fresh.page.click("#lab-load")
    assert sentence in fresh.fault()
    fresh.page.click("#lab-again")
    if "lab.json" in pattern:
        fresh.page.wait_for_selector("#lab-load:enabled")
    else:
        fresh.page.wait_for_selector("#lab-room")
    assert fresh.page.locator("#lab-fault").is_hidden()


def test_a_missing_face_has_its_sentence_and_another_try(fresh):
    fresh.open().load()
    fresh.page.route("**/gallery/04.png", lambda route: route.fulfill(status=404), times=1)
    fresh.choose(target="4")
    assert "04.png is missing" in fresh.fault()
    assert fresh.page.is_checked("[name=target][value='1']")
    fresh.page.click("#lab-again")
    fresh.page.wait_for_selector("[name=target][value='4']:checked", state="attached")


def test_an_interrupted_load_can_be_tried_again(fresh):
    half = (DATA / "attack.onnx").read_bytes()[:2_000_000]
    fresh.page.route("**/attack.onnx", lambda route: route.fulfill(body=half), times=1)
    fresh.open().page.click("#lab-load")
    assert "Loading attack.onnx was interrupted after 2.0 of" in fresh.fault()
    fresh.page.click("#lab-again")
    fresh.page.wait_for_selector("#lab-room")


def test_a_server_that_has_gone(fresh):
    fresh.open().page.route("**/face.onnx", lambda route: route.abort(), times=1)
    fresh.page.click("#lab-load")
    assert "face.onnx could not be loaded: the server does not answer" in fresh.fault()


def test_a_detector_that_is_missing_leaves_the_rest(fresh):
    fresh.page.route("**/reform.onnx", lambda route: route.fulfill(status=404), times=1)
    fresh.open().load().page.click(
        "#lab-detector"
    )  # not check(): the page may take the tick away before it looks
    assert "reform.onnx is missing" in fresh.fault()
    assert not fresh.page.is_checked("#lab-detector")
    fresh.page.click("#lab-again")
    fresh.page.wait_for_selector("#lab-scores")


def test_an_attacker_who_cannot_learn_the_detector_does_not_know_it(fresh):
    fresh.page.route("**/knowing.onnx", lambda route: route.fulfill(status=404), times=1)
    fresh.open().load().page.click("#lab-knows")
    assert "knowing.onnx is missing" in fresh.fault()
    assert not fresh.page.is_checked("#lab-knows")
    fresh.page.click("#lab-again")
    fresh.page.wait_for_selector("#lab-c")
    fresh.page.fill("[name=steps]", "2")
    fresh.attack()
    assert "Done after 2 steps" in fresh.text("status")


def test_a_crash_of_the_worker(fresh):
    fresh.open().load()
    fresh.page.fill("[name=steps]", "300")
    fresh.page.click("#lab-start")
    fresh.page.wait_for_function(
        "() => /^step/.test(document.querySelector('#lab-step').textContent)"
    )
    fresh.page.workers[0].evaluate(
        "() => { setTimeout(() => { throw new Error('out of memory'); }); }"
    )
    assert "The worker that computes has stopped" in fresh.fault()
    assert "out of memory" in fresh.fault()
    fresh.page.wait_for_selector("#lab-start:enabled")
    fresh.page.click("#lab-again")
    fresh.page.wait_for_function(
        "() => document.querySelector('#lab-status').textContent.includes('runs again')"
    )
    fresh.page.fill("[name=steps]", "2")
    fresh.attack()
    assert "Done after 2 steps" in fresh.text("status")


def test_without_webgl_everything_but_the_heads_works(fresh):
    fresh.page.add_init_script("""
        const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
            return kind.startsWith("webgl") ? null : get.call(this, kind, ...rest);
        };""")
    fresh.open().load()
    assert "draws no 3D" in fresh.text("flat")
    assert fresh.page.locator("#lab-flat img").is_visible()
    fresh.page.fill("[name=steps]", "2")
    fresh.attack()
    assert "Done after 2 steps" in fresh.text("status")


def test_without_webassembly_a_picture_tells_the_story(fresh):
    fresh.page.add_init_script("delete window.WebAssembly;")
    fresh.open()
    assert "runs no WebAssembly" in fresh.fault()
    assert fresh.page.locator("#lab-door img").is_visible()
    assert fresh.page.is_disabled("#lab-load")


def test_opened_as_a_file_the_page_says_what_to_do(browser):
    page = browser.new_page()
    page.goto((SITE / "book" / "lab.html").as_uri())
    page.wait_for_selector("#lab-notice")
    assert "python -m http.server" in page.locator("#lab-notice").inner_text()
    page.close()
