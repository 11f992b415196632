"""Why Panoptic's decoder is normalised: with and without it, a few scenes learned by heart.

Most pixels are void, whose code is 0, and units that are off are a quick way to say 0. Both networks, of the recipe
`panoptic/shapes-stage2` and with the same first weights of the backbone, see a few made-up scenes again and again.
Reported are the losses of the instances at the beginning and at the end, and the share of the decoder's units, layer by
layer, that more than one pixel in twenty switches on.

    python benchmarks/panoptic_decoder.py [--steps 250] [--scenes 8] [--learning-rate 0.0003]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from harness.report import markdown_table, write_report
from harness.short_training import train_from_scratch
from panoptic_ablation import BASE, CATEGORIES, SCENES, TARGETS, WEIGHTS
from torch import Tensor, nn

from upseg.data.batches import Batch, Collate
from upseg.data.sample import Sample
from upseg.data.shapes import ShapeScenes
from upseg.methods.panoptic.encodings import make_encoding
from upseg.methods.panoptic.losses import panoptic_losses
from upseg.methods.panoptic.network import PanopticNetwork, output_channels
from upseg.methods.panoptic.targets import PanopticTargets

RESULTS = Path(__file__).resolve().parent / "results"
ENDS = 25
"""Steps at the beginning and at the end whose losses are averaged."""
ALIVE = 0.05
HEADINGS = ("decoder", "instance, first", "instance, last", "dice, first", "dice, last", "units alive, by layer")


class Again(ShapeScenes):
    """A few scenes, drawn once, that come again and again."""

    def __init__(self, scenes: ShapeScenes, rounds: int) -> None:
        super().__init__(len(scenes) * rounds, scenes.size, scenes.difficulty, scenes.seed, scenes.classes)
        self.drawn = [scenes[index] for index in range(len(scenes))]

    def load(self, index: int) -> Sample:
        """The sample that has its turn."""
        return self.drawn[index % len(self.drawn)]


def train(scenes: Again, options: argparse.Namespace, *, normalised: bool) -> tuple[PanopticNetwork, np.ndarray]:
    """A network, and (steps, 2) the losses of the instances, Eq. 4 and 12."""
    encoding, losses = make_encoding(BASE), []
    sizes = BASE.backbone, BASE.layers, BASE.decoder_channels, output_channels(BASE, CATEGORIES)
    targets = PanopticTargets(CATEGORIES, grid=BASE.grid, **TARGETS)

    def make() -> PanopticNetwork:
        network = PanopticNetwork(*sizes, patch=BASE.patch)
        if not normalised:
            for number, layer in enumerate(network.decoder.layers):
                if isinstance(layer, nn.GroupNorm):
                    network.decoder.layers[number] = nn.Identity()
        return network

    def loss(network: PanopticNetwork, batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(batch.images)
        found = panoptic_losses(outputs, batch.targets, encoding, WEIGHTS)
        losses.append((float(found["instance"].detach()), float(found["dice"].detach())))
        return found["total"]

    collate = Collate(targets)
    network = train_from_scratch(
        make, loss, scenes, collate, seed=0, batch=options.scenes, learning_rate=options.learning_rate
    )
    return network, np.array(losses)


@torch.inference_mode()
def units_alive(network: PanopticNetwork, scenes: Again) -> list[float]:
    """The share of the units of each layer of the decoder that enough pixels switch on."""
    values = torch.cat(network.backbone(Collate()(scenes.drawn).images), dim=1)
    shares = []
    for layer in network.decoder.layers:
        values = layer(values)
        if isinstance(layer, nn.ReLU):
            shares.append(float(((values > 0).float().mean(dim=(0, 2, 3)) > ALIVE).float().mean()))
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"steps": 250, "scenes": 8}.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--learning-rate", type=float, nargs="*", default=[3e-4, 1e-3], help="default: 0.0003 0.001")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    options = parser.parse_args()
    rates, rows, results = options.learning_rate, [], {}
    scenes = Again(ShapeScenes(**{**SCENES, "length": options.scenes}), options.steps)
    for rate in rates:
        options.learning_rate = rate
        for normalised in (True, False):
            network, losses = train(scenes, options, normalised=normalised)
            name = f"{'normalised' if normalised else 'without'}, {rate:g}"
            alive = units_alive(network, scenes)
            ends = [float(part[:, column].mean()) for column in (0, 1) for part in (losses[:ENDS], losses[-ENDS:])]
            rows.append([name, *(f"{value:.3f}" for value in ends), " ".join(f"{share:.2f}" for share in alive)])
            results[name] = {"losses": losses.tolist(), "alive": alive}
    notes = [f"{options.steps} steps on {options.scenes} scenes; means of {ENDS} steps"]
    title = "Panoptic: the decoder with and without normalisation, by learning rate"
    write_report(options.output, "panoptic_decoder", title, [markdown_table(HEADINGS, rows)], {"runs": results}, notes)


if __name__ == "__main__":
    main()
