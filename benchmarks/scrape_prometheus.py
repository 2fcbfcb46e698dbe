"""The peer of a scrape: `python -m benchmarks.scrape_prometheus LINES REPEATS` counts, and renders REPEATS times."""

import json
import os
import sys

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from benchmarks import peers
from benchmarks.scrape import scrape

BUCKETS = [float(i) for i in range(1, 16)]
PER_HISTOGRAM = 16 + 2  # lines: buckets, count, sum
PER_COUNTER = 20


def main(lines: int, repeats: int) -> None:
    """Make as many lines as barograph shows, two thirds of the columns histograms, and print CPU and wall milliseconds."""
    registry = CollectorRegistry()
    columns = lines // (2 * PER_HISTOGRAM + PER_COUNTER)
    for i in range(2 * columns):
        Histogram(f"amount_{i}", "amount", registry=registry, buckets=BUCKETS).observe(i % 17)
    for i in range(columns):
        counter = Counter(f"kind_{i}", "kind", ["value"], registry=registry)
        for k in range(PER_COUNTER):
            counter.labels(f"value_{k:02d}").inc()
    if not repeats:
        return
    if peers.MULTIPROCESS in os.environ:

        def render() -> bytes:
            together = CollectorRegistry()
            MultiProcessCollector(together)
            return generate_latest(together)

    else:

        def render() -> bytes:
            return generate_latest(registry)

    print(json.dumps(scrape(render, repeats)))


main(int(sys.argv[1]), int(sys.argv[2]))
