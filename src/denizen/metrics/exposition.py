"""Figures as text, in the format of Prometheus; the library of the extra `server` writes it."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from denizen.db.tally import BOUNDS
from denizen.metrics.figures import FAMILIES, Family, Figures, Series

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_LIMITS: Final = [f"{bound:g}" for bound in BOUNDS] + ["+Inf"]


def written(figures: Figures) -> bytes:
    """Write the figures; families of which there is nothing are left out."""
    return generate_latest(_Told(figures))


class _Told(Collector):
    """Figures as the library collects them."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            if series := self._figures.get(family.name):
                yield _metric(family, series)


def _metric(family: Family, series: Series) -> Metric:
    about: dict[str, Any] = {"labels": family.labels}
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.meaning, **about)
        for labels, (*counts, total) in sorted(series.items()):
            sums = accumulate(counts)
            histogram.add_metric(labels, list(zip(_LIMITS, sums, strict=True)), total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.meaning, **about)
    for labels, (value,) in sorted(series.items()):
        metric.add_metric(labels, value)
    return metric
