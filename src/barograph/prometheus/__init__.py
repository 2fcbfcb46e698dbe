"""Fleet: counts from the query API of Prometheus, or of what speaks it, in place of reading services.

api.py: questions and answers.  scrapes.py: samples back to series.  coarse.py: references over the cells that /metrics shows.
references.py: their files.  book.py: what has been counted, stored.  poller.py: the loop.
"""

from barograph.prometheus.api import Endpoint, QueryError
from barograph.prometheus.book import refuse_mixed
from barograph.prometheus.coarse import CoarseReference
from barograph.prometheus.poller import PrometheusPoller
from barograph.prometheus.references import ReferenceFiles

__all__ = ["CoarseReference", "Endpoint", "PrometheusPoller", "QueryError", "ReferenceFiles", "refuse_mixed"]
