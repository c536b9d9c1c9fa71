"""A chapter has the number of its file, and shows its first picture in its first box."""

from PIL import Image

FIGURE = "```{{figure}} dot.png\n:name: {name}\n:alt: {name} seen\n{name} said\n```\n\n"
BOX = "```{tip}\nAbout this.\n```\n\n"


def figure(name: str) -> str:
    return FIGURE.format(name=name)


def test_numbers_are_those_of_the_files(build_site, tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "dot.png")
    pages = {
        "07_seventh": "# A\n\n" + figure("fig-a") + "## Section\n\n" + figure("fig-b"),
        "between": "# B\n\n" + figure("fig-c") + "{numref}`fig-b`, {numref}`fig-d`\n",
        "12_last": "# C\n\n" + figure("fig-d"),
    }
    site, warned = build_site(pages, "chapters")
    assert not warned
    titles = {name: soup.h1.get_text().rstrip("¶#") for name, soup in site.items()}
    assert titles == {"07_seventh": "7. A", "between": "B", "12_last": "12. C", "index": "All"}
    assert site["07_seventh"].h2.get_text().rstrip("¶#") == "Section"
    contents = [
        link.get_text() for link in site["index"].select(".toctree-wrapper .toctree-l1 > a")
    ]
    assert contents == ["7. A", "12. C", "B"]
    numbered = {
        name: [tag.get_text().strip() for tag in soup.select(".caption-number")]
        for name, soup in site.items()
    }
    assert numbered["07_seventh"] == ["Fig. 7.1", "Fig. 7.2"]
    assert numbered["12_last"] == ["Fig. 12.1"] and numbered["between"] == ["Fig. 1"]
    assert "Fig. 7.2, Fig. 12.1" in site["between"].get_text()


def test_the_first_picture_stands_in_the_first_box_of_a_chapter(build_site, tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "dot.png")
    text = "# A\n\n" + BOX + figure("fig-a") + BOX + figure("fig-b")
    pages = {"01_first": text, "page": text.replace("fig-", "own-"), "02_bare": "# B\n\n" + BOX}
    site, warned = build_site(pages, "chapters")
    assert not warned
    first, second = site["01_first"].select(".admonition")
    assert first.a["href"] == "#fig-a" and first.a.img["alt"] == "fig-a seen"
    assert not second.select("img")
    for other in ("page", "02_bare"):
        assert not site[other].select(".admonition img")
