"""How sure is the silhouette's number of labels, with so few pixels? Two seeds and two sizes of the sample compared.

UPSEG_DATA=... python benchmarks/silhouette_seeds.py [--every 5] [--samples 1000 2000]
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import combinations

import numpy as np
from harness.report import markdown_table, write_report
from harness.runs import argument_parser, open_photos

from upseg.methods.dynaseg.floor import silhouette_floor

SEEDS = (0, 1)


def main() -> None:
    parser = argument_parser(__doc__, split="train")
    parser.add_argument("--every", type=int, default=5, help="one photo of so many; default: 5")
    parser.add_argument("--samples", type=int, nargs="+", default=(1000, 2000), help="pixels; default: 1000 2000")
    options = parser.parse_args()
    photos = open_photos(options)
    images = [photos.read(index)[0] for index in range(0, len(photos.names), options.every)]
    floors: dict[tuple[int, int], np.ndarray] = {}
    rows = []
    for samples in options.samples:
        for seed in SEEDS:
            start = time.process_time()
            found = [silhouette_floor(image, samples=samples, seed=seed) for image in images]
            seconds = (time.process_time() - start) / len(images)
            floors[samples, seed] = np.array(found)
            counts = " ".join(f"{floor}: {count}" for floor, count in sorted(Counter(found).items()))
            rows.append([f"{samples} pixels, seed {seed}", f"{seconds:.2f}", counts])
    pairs = [
        [f"{a} and {b} pixels, seeds {s} and {t}", f"{(floors[a, s] == floors[b, t]).mean():.0%}"]
        for (a, s), (b, t) in combinations(floors, 2)
    ]
    sections = [
        markdown_table(("sample", "processor seconds", "photos with each number of labels"), rows),
        markdown_table(("compared", "same number"), pairs),
    ]
    title = f"The silhouette's number of labels: {len(images)} photos of BSDS500 {options.split}"
    data = {"floors": {f"{samples} {seed}": values.tolist() for (samples, seed), values in floors.items()}}
    write_report(options.output, "silhouette_seeds", title, sections, data)


if __name__ == "__main__":
    main()
