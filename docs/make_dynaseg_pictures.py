"""The paper's Figure 6 from what `benchmarks/dynaseg_classes.py` counted: `python docs/make_dynaseg_pictures.py`."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BAR, HEIGHT, GAP, TOP = 9, 160, 70, 30
BLUE, ORANGE = "#4477aa", "#ee8833"


def panel(left: int, title: str, truth: list[int], other: list[int]) -> list[str]:
    """Two bars for each number of clusters, those of the truth in blue."""
    most, foot = max(*truth, *other), TOP + HEIGHT
    parts = [f'<text x="{left}" y="{TOP - 12}" font-size="12">{title}</text>']
    for place, counts in enumerate(zip(truth, other, strict=True)):
        x = left + place * (2 * BAR + 4)
        for shift, count, colour in zip((0, BAR), counts, (BLUE, ORANGE), strict=True):
            high = round(HEIGHT * count / most)
            parts.append(f'<rect x="{x + shift}" y="{foot - high}" width="{BAR}" height="{high}" fill="{colour}"/>')
        parts.append(f'<text x="{x + BAR}" y="{foot + 14}" font-size="9" text-anchor="middle">{place + 1}</text>')
    parts.append(f'<text x="{left - 6}" y="{TOP + 8}" font-size="9" text-anchor="end">{most}</text>')
    return parts


def main() -> None:
    counted = json.loads((ROOT / "benchmarks" / "results" / "dynaseg_classes.json").read_text("utf-8"))["clusters"]
    truth, silhouette = counted["classes in the truth"], counted["silhouette floor"]
    fixed = [sum(truth) if number == 3 else 0 for number in range(1, len(truth) + 1)]
    width = len(truth) * (2 * BAR + 4)
    parts = [
        *panel(40, "classes in a photo (blue), a fixed floor of 3 (orange)", truth, fixed),
        *panel(40 + width + GAP, "classes in a photo (blue), the silhouette's floor (orange)", truth, silhouette),
    ]
    size = f'width="{2 * width + GAP + 80}" height="{TOP + HEIGHT + 40}"'
    body = "\n".join(parts)
    text = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">\n'
    text += f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    (ROOT / "docs" / "_static" / "dynaseg-clusters.svg").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
