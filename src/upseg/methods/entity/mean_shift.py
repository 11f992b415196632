"""Mean shift on the projective sphere: from a feature for each pixel to the lines they gather around (Sec. 4)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

SAMPLE = 4096
"""The most features that modes are looked for in at once."""
SEEDS, POWER_STEPS = 64, 1
"""Of a sample: how many features are shifted at once, and how many steps of the power iteration make one shift."""
FEW, FEW_POWER_STEPS = 256, 32
"""So few features are all shifted, and each shift is a whole eigenvector: nothing is saved on them."""
SAMPLE_ROUNDS, MORE_ROUNDS = 16, 6
"""How often seeds are set anew where no mode covers the sample, and the second sample."""
FRUITLESS_ROUNDS = 2
"""After so many rounds of seeds in turn that led to no new mode, the lines left are taken for noise."""
LEAST_SUPPORT = 3
"""Features that a mode needs within its bandwidth where there are more than `SAMPLE`. A small cluster with fewer in the
first sample is not lost: no mode covers it, so the next sample has more of it. But a pixel or two are no cluster."""
MAXIMUM_MODES = 128
"""Of noise there is no end: only so many modes are kept, those with more features first."""
STEPS, TOLERANCE = 64, 1e-3
"""The most shifts of a mode, and the length of the shift (of a unit vector) after which it rests."""
CHUNK = 2048
"""Features that are compared with all modes at once: they and their products stay in the processor's cache."""
PART = 4
"""A seed's first shift is over every fourth feature: it is only to tell which seeds go the same way."""
MET = 1 / 3
"""Of the bandwidth: seeds that are so near to each other, or to a mode, after it are one."""
SMALLEST_BANDWIDTH = 0.1
"""Degrees; the cosines of smaller angles are 1 in float32."""
LONGEST = 1.02
"""Unit vectors in half precision are no longer."""


@dataclass(frozen=True)
class LineClusters:
    """What mean shift found.

    Attributes:
        modes: (M, d) unit vectors whose sign means nothing; no two of them closer than the bandwidth.
        nearest: (N,) the mode of each feature; -1 where it is orthogonal to all of them, as zero vectors are.
        similarity: (N,) |f . mode| with it, in [0, 1]; 0 where there is none.
    """

    modes: Float32[Tensor, "m d"]
    nearest: Int32[Tensor, " n"]
    similarity: Float32[Tensor, " n"]


def cluster_lines(
    features: Float[Tensor, "n d"],
    bandwidth: float = 45.0,
    *,
    seed: int = 0,
    least_support: int = 1,
) -> LineClusters:
    """Mean shift with a flat kernel, each feature with its nearest mode.

    Paper: Sec. 4. x <- the dominant line of the f_i with |f_i . x| >= cos(bandwidth), until it rests; modes closer
    than the bandwidth are one, the one with more features within its bandwidth.

    The cost is linear in N. Up to `FEW` features every one is shifted. Of more, modes are found on a sample, starting
    from features that no mode found so far covers (that lie within the bandwidth of none). One pass then takes each
    feature to its nearest mode; where it leaves features uncovered, a second sample has more of those. The partition
    is that of shifting all features over all features, but for features about as far from two modes: a shift on a
    sample is one power step with the kernel drawn anew, not a whole eigenvector, and where the similarities with two
    modes differ by less than 2e-5 the first mode takes the feature.

    Args:
        features: (N, d) unit vectors, on any device and with any strides: `.flatten(1).T` of a (d, H, W) map is not
            copied. Zero vectors have no cluster.
        bandwidth: In degrees, in (0, 90].
        seed: Of the samples.
        least_support: Features that a mode needs within its bandwidth, unless none has as many; of more than `SAMPLE`
            features always `LEAST_SUPPORT`.

    Raises:
        ValueError: If the bandwidth is out of range, or a feature is longer than 1 or not finite.
    """
    cosine = bandwidth_cosine(bandwidth)
    random = np.random.default_rng(seed)
    count = len(features)
    lines = _gather(features, _spread(count, SAMPLE, random))
    search = _Search(cosine, random)
    modes = search.first_modes(lines, least_support if len(lines) == count else LEAST_SUPPORT)
    nearest, similarity = nearest_modes(features, modes)
    if not bool(torch.isfinite(similarity).all()):
        raise ValueError("features must be finite, but some are NaN or infinite; check the network's weights")
    uncovered = torch.nonzero(similarity < cosine)[:, 0]
    if len(lines) < count and len(uncovered) >= LEAST_SUPPORT and len(modes) < MAXIMUM_MODES:
        more = _gather(features, uncovered[_spread(len(uncovered), SAMPLE // 2, random).to(uncovered.device)])
        found = search.more_modes(more, torch.cat((more, lines[::2])), modes, LEAST_SUPPORT, MORE_ROUNDS)
        closer, similar = nearest_modes(features, found)
        nearest = torch.where(similar > similarity, closer + len(modes), nearest)
        similarity, modes = torch.maximum(similar, similarity), torch.cat((modes, found))
    return LineClusters(modes, nearest, similarity)


def bandwidth_cosine(bandwidth: float) -> float:
    """The least |f . x| of a feature within the bandwidth, in degrees, of a mode.

    Raises:
        ValueError: If it is not above 0 and at most 90.
    """
    if not 0 < bandwidth <= 90:
        raise ValueError(f"bandwidth must be above 0 and at most 90 degrees, got {bandwidth}")
    return math.cos(math.radians(max(bandwidth, SMALLEST_BANDWIDTH)))


def nearest_modes(
    features: Float[Tensor, "n d"], modes: Float32[Tensor, "m d"]
) -> tuple[Int32[Tensor, " n"], Float32[Tensor, " n"]]:
    """The mode with the largest |f . mode| for each feature, of any strides, in one pass over the features.

    The number of a mode is written into the last bits of the similarity, so one maximum finds both: two thirds of the
    time are left to the product.

    Returns:
        (N,) numbers of modes, -1 where |f . mode| is 0 for all, and (N,) |f . mode|, exact to 1 in 2^(23 - log2 M).
    """
    count, device = len(features), features.device
    nearest = torch.full((count,), -1, dtype=torch.int32, device=device)
    similarity = torch.zeros(count, device=device)
    if len(modes) == 0:
        return nearest, similarity
    last = (1 << (len(modes) - 1).bit_length()) - 1
    magnitude = 0x7FFFFFFF & ~last  # positive floats have the order of their bits read as integers
    numbers = torch.arange(last, last - len(modes), -1, dtype=torch.int32, device=device)[:, None]  # ties: the first
    bits = torch.empty(len(modes), min(count, CHUNK), dtype=torch.int32, device=device)
    for start, part in _chunks_of(features):
        here = slice(start, start + part.shape[1])
        bits = bits if bits.shape[1] == part.shape[1] else bits.new_empty(len(modes), part.shape[1])
        torch.mm(modes, part, out=bits.view(torch.float32))  # (M, n)
        best = torch.amax(bits.bitwise_and_(magnitude).bitwise_or_(numbers), 0)
        similar = (best & magnitude).view(torch.float32)
        similarity[here] = similar
        nearest[here] = torch.where(similar != 0, last - (best & last), -1)
    return nearest, similarity


def _chunks_of(features: Float[Tensor, "n d"]) -> Iterator[tuple[int, Float32[Tensor, "d c"]]]:
    """Where each chunk starts, and its features as columns, which last until the next.

    The columns of a map of 2^k pixels lie so far apart that they share a few places of the processor's cache: copied
    first, they are multiplied in two thirds of the time.
    """
    columns = features.T
    scattered = columns.stride(1) == 1 and columns.shape[1] > CHUNK and columns.device.type == "cpu"
    buffer = torch.empty(len(columns), CHUNK) if scattered else None
    for start in range(0, columns.shape[1], CHUNK):
        part = columns[:, start : start + CHUNK]
        yield start, part.float() if buffer is None else buffer[:, : part.shape[1]].copy_(part)


@dataclass(frozen=True)
class _Search:
    """Looks for modes where none covers the lines of a sample."""

    cosine: float
    random: np.random.Generator

    def first_modes(self, lines: Float32[Tensor, "n d"], least: int) -> Float32[Tensor, "m d"]:
        """The modes of a sample: some if any of its lines is not zero."""
        none = lines.new_zeros(0, lines.shape[1])
        modes = self.more_modes(lines, lines, none, least, SAMPLE_ROUNDS)
        # nothing but noise is not nothing: it falls into the largest of its many clusters
        return modes if len(modes) or least == 1 else self.more_modes(lines, lines, none, 1, SAMPLE_ROUNDS)

    def more_modes(
        self,
        seeds: Float32[Tensor, "s d"],
        lines: Float32[Tensor, "n d"],
        known: Float32[Tensor, "k d"],
        least: int,
        rounds: int,
    ) -> Float32[Tensor, "m d"]:
        """New modes of the lines that cover the seeds: the most supported, with at least `least`."""
        uncovered = torch.linalg.vector_norm(seeds, dim=1) > 0.5  # zero vectors have no line
        modes = newest = known
        support = torch.zeros(0, dtype=torch.int64, device=lines.device)
        fruitless, few = 0, len(lines) <= FEW
        for _ in range(rounds):
            uncovered &= nearest_modes(seeds, newest)[1] < self.cosine
            candidates = torch.nonzero(uncovered)[:, 0]
            if len(candidates) == 0 or fruitless == FRUITLESS_ROUNDS or len(modes) >= 4 * MAXIMUM_MODES:
                break
            chosen = candidates[_spread(len(candidates), FEW if few else SEEDS, self.random).to(candidates.device)]
            uncovered[chosen] = False  # never a second time, wherever they lead
            rests, within = _shift(seeds[chosen], lines, modes, self.cosine, FEW_POWER_STEPS if few else POWER_STEPS)
            kept = _distinct(rests, within, modes, self.cosine, least)
            newest = rests[kept]
            modes, support = torch.cat((modes, newest)), torch.cat((support, within[kept]))
            fruitless = 0 if len(newest) else fruitless + 1
        order = torch.sort(support, descending=True, stable=True).indices
        return modes[len(known) :][order[: max(0, MAXIMUM_MODES - len(known))]]


def _shift(
    seeds: Float32[Tensor, "b d"],
    lines: Float32[Tensor, "n d"],
    known: Float32[Tensor, "k d"],
    cosine: float,
    power_steps: int,
) -> tuple[Float32[Tensor, "r d"], Int64[Tensor, " r"]]:
    """Where seeds come to rest, and how many lines lie within the bandwidth there.

    Where not each shift is a whole eigenvector, seeds that meet others or known modes on the way go no further.
    """
    modes = F.normalize(seeds, dim=1)
    if power_steps == 1:
        part = lines[::PART]
        modes = F.normalize(torch.addmm(modes, F.hardshrink(modes @ part.T, cosine), part), dim=1)
        modes = modes[~_met(modes, known, math.cos(MET * math.acos(cosine)))]
    support = torch.zeros(len(modes), dtype=torch.int64, device=modes.device)
    moving = torch.arange(len(modes), device=modes.device)
    for _ in range(STEPS):
        if len(moving) == 0:
            break
        here = modes[moving]
        inside = F.hardshrink(here @ lines.T, cosine)  # (b, n) f . x, 0 outside the kernel
        there = _dominant_lines(inside, lines, here, power_steps)
        modes[moving], support[moving] = there, torch.count_nonzero(inside, dim=1)
        moving = moving[torch.linalg.vector_norm(there - here, dim=1) > TOLERANCE]
    return modes, support


def _met(lines: Float32[Tensor, "b d"], known: Float32[Tensor, "k d"], cosine: float) -> Bool[Tensor, " b"]:
    """Which lines are as near to one before them, or to a known one."""
    others = torch.cat((known, lines))
    return ((lines @ others.T).abs() > cosine).tril(len(known) - 1).any(1)


def _dominant_lines(
    inside: Float32[Tensor, "b n"], lines: Float32[Tensor, "n d"], start: Float32[Tensor, "b d"], power_steps: int
) -> Float32[Tensor, "b d"]:
    """The dominant line of the lines inside each kernel, by power iteration.

    Every f in a kernel of 45 degrees has (f . x)² >= 1/2, so x holds at least half of their moment: the first
    eigenvalue stands apart, and x is not far from its eigenvector.

    Args:
        inside: f . x, 0 for those outside.
        lines: All f.
        start: The x.
        power_steps: At most so many.
    """
    kernel = inside != 0 if power_steps > 1 else None
    for _ in range(power_steps):
        line = F.normalize(inside @ lines, dim=1)  # Σ f (f . x)
        if kernel is None or float(torch.linalg.vector_norm(line - start, dim=1).max()) < TOLERANCE / 10:
            break
        start, inside = line, (line @ lines.T) * kernel
    return line


def _distinct(
    modes: Float32[Tensor, "b d"],
    support: Int64[Tensor, " b"],
    known: Float32[Tensor, "k d"],
    cosine: float,
    least: int,
) -> Int64[Tensor, " c"]:
    """Which modes stay: from the one with most support down, those not within the bandwidth of another or known one."""
    order = torch.sort(support, descending=True, stable=True).indices
    ordered = modes[order]
    free = (support[order] >= least) & ~((ordered @ known.T).abs() > cosine).any(1)
    close = ((ordered @ ordered.T).abs() > cosine).cpu().numpy()
    left, kept = free.cpu().numpy(), []
    for number in range(len(left)):
        if left[number]:
            kept.append(number)
            left &= ~close[number]
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]


def _spread(count: int, most: int, random: np.random.Generator) -> Int64[Tensor, " n"]:
    """At most so many of 0..count - 1, in order, one from each of as many equal stretches."""
    if count <= most:
        return torch.arange(count)
    return torch.from_numpy(((np.arange(most) + random.random(most)) * (count / most)).astype(np.int64))


def _gather(features: Float[Tensor, "n d"], index: Int64[Tensor, " k"]) -> Float32[Tensor, "k d"]:
    lines = features[index.to(features.device)].float().contiguous()
    longest = float(torch.linalg.vector_norm(lines, dim=1).max()) if len(lines) else 0.0
    if longest > LONGEST:
        raise ValueError(f"features must have unit length, got one of length {longest:.3f}; divide each by its length")
    return lines
