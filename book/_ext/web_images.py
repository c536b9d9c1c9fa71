"""Makes the site's large pictures small: as WebP, faces take a fraction of PNG's bytes."""

from pathlib import Path

from PIL import Image

LARGE = 100_000  # bytes; below, a chart has sharper lines as PNG


def shrink(site: Path) -> None:
    """Replace the large PNG pictures of a site, and their names in its pages."""
    replaced = {}
    for path in sorted((site / "_images").glob("*.png")):
        if path.stat().st_size > LARGE:
            smaller = path.with_suffix(".webp")
            Image.open(path).save(smaller, quality=90, method=6)
            replaced[f"_images/{path.name}"] = f"_images/{smaller.name}"
            path.unlink()
    for page in site.rglob("*.html"):
        before = text = page.read_text(encoding="utf8")
        for old, new in replaced.items():
            text = text.replace(old, new)
        if text != before:
            page.write_text(text, encoding="utf8")


def _finished(app, exception) -> None:
    if exception is None and app.builder.name == "html":
        shrink(Path(app.outdir))


def setup(app) -> dict[str, bool]:
    app.connect("build-finished", _finished)
    return {"parallel_read_safe": True}
