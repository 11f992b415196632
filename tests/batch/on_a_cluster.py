"""Runs on a Ray cluster of two nodes of this machine; `python -m tests.batch.on_a_cluster FOLDER` prints how they went.

In a process of its own: Ray takes over signals, and its libraries warn of themselves.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import fsspec
import numpy as np
from moto.server import ThreadedMotoServer
from PIL import Image

from tests.batch.segmenters import register
from upseg.batch.run import BatchObserver, BatchSummary, segment_files
from upseg.errors import UpsegError
from upseg.images.reading import read_image

FORMATS = ("png", "csv")
DYING, BROKEN = (0, 255, 255), (255, 0, 255)  # colours that the test methods take for orders
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 10**8}
# only on this machine, without reports to the makers, and no nicer than others
RAY = {"ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "USAGE_STATS_ENABLED": "0", "worker_niceness": "0"}
QUICK_TO_NOTICE = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}


def draw(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")


def told(summary: BatchSummary) -> dict[str, object]:
    errors = {result.input.name: result.error for result in summary.failures}
    return {**summary.counts(), "names": [result.input.name for result in summary.results], "errors": errors}


def bytes_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_bytes().hex() for path in sorted(folder.glob("*.[pc][ns][gv]"))}


def as_here(folder: Path, address: str) -> dict[str, object]:
    """The same as on this machine alone."""
    draw(folder / "photos", 6)
    here = segment_files([folder / "photos"], folder / "here", model="threshold", formats=FORMATS)
    there = segment_files([folder / "photos"], folder / "there", model="threshold", formats=FORMATS, ray=address)
    same = bytes_of(folder / "here") == bytes_of(folder / "there")
    return {"here": told(here), "there": told(there), "same": same}


def with_broken_images(folder: Path, address: str) -> dict[str, object]:
    """What is broken takes nothing else with it."""
    Image.new("RGB", (8, 6), DYING).save(folder / "photos/dying.png")
    Image.new("RGB", (8, 6), BROKEN).save(folder / "photos/bug.png")
    return told(segment_files([folder / "photos"], folder / "there", model="threshold", formats=FORMATS, ray=address))


def in_buckets(folder: Path, address: str) -> dict[str, object]:
    """From a bucket to a bucket; another run, on this machine alone, goes on from it."""
    store = fsspec.filesystem("s3")
    store.mkdir("s3://lake")
    store.put(str(folder / "photos"), "s3://lake/photos", recursive=True)
    store.pipe("s3://lake/photos/damaged.png", b"no image")
    common = {"model": "threshold", "formats": ("png",)}
    first = segment_files(["s3://lake/photos"], "s3://lake/out", **common, ray=address, workers=2)
    second = segment_files(["s3://lake/photos"], "s3://lake/out", **common)
    store.invalidate_cache()
    names = [f"{number:02}.png" for number in range(6)]
    same = all(store.cat(f"s3://lake/out/{name}") == (folder / "here" / name).read_bytes() for name in names)
    return {"first": told(first), "second": told(second), "same": same}


class Killer(BatchObserver):
    """Kills a node in the middle of a run."""

    def __init__(self, cluster: object, node: object, after: int) -> None:
        self.cluster, self.node, self.after, self.seen = cluster, node, after, list[str]()

    def on_result(self, result) -> None:
        self.seen.append(result.input.name)
        if len(self.seen) == self.after:
            self.cluster.remove_node(self.node, allow_graceful=False)


def with_a_dying_node(folder: Path, address: str, cluster: object, node: object) -> dict[str, object]:
    """Nothing is lost, nothing that was done is done twice."""
    photos, log = folder / "many", Path(os.environ["UPSEG_TEST_LOG"])
    draw(photos, 24)
    log.write_text("")
    names = {hashlib.sha256(read_image(path).tobytes()).hexdigest(): path.name for path in photos.iterdir()}
    killer = Killer(cluster, node, after=6)
    settings = {"delay": 0.4}
    options = {"model": "threshold", "formats": ("png",), "settings": settings, "ray": address}
    summary = segment_files([photos], folder / "out", **options, observer=killer)
    journal = [json.loads(line) for line in (folder / "out/.upseg-journal.jsonl").read_text().splitlines()]
    return {
        **told(summary),
        "files": sorted(path.name for path in (folder / "out").glob("*.png")),
        "before": killer.seen[:6],
        "reported": killer.seen,
        "finished": [line["input"] for line in journal if line["event"] == "finished"],
        "segmented": [names[digest] for digest in log.read_text().split()],
        "second": told(segment_files([photos], folder / "out", **options)),
    }


def main(folder: Path) -> None:
    register()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    os.environ |= {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "UPSEG_TEST_LOG": str(folder / "segmented.txt"),
        **{f"RAY_{name}": value for name, value in RAY.items()},
    }
    from ray.cluster_utils import Cluster

    head = {**NODE, "include_dashboard": False, "_system_config": QUICK_TO_NOTICE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    node = cluster.add_node(**NODE)
    try:
        found = {
            "as here": as_here(folder, cluster.address),
            "buckets": in_buckets(folder, cluster.address),
            "broken": with_broken_images(folder, cluster.address),
            "dying": with_a_dying_node(folder, cluster.address, cluster, node),
        }
        try:
            segment_files([folder / "photos"], folder / "no", model="broken", ray=cluster.address, formats=("png",))
        except UpsegError as error:
            found["model"] = str(error)
    finally:
        cluster.shutdown()
        server.stop()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
