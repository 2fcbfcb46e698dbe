"""The demo's second model: by how many minutes will this flight arrive late, asked at its departure.

A regression over the numbers among the features of the first one (`model`), of the same weeks: on the reference its mean absolute
error is 12 minutes.
"""

from functools import partial

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor

from barograph import Reference
from barograph.demo import flights
from barograph.demo import model as artefacts

NAME, VERSION = "arrival-delay", "1"
MODEL_FILE, REFERENCE_FILE = "arrival-delay.joblib", "arrival-delay.reference.json"
FEATURES = tuple(name for name in flights.FEATURES if name not in flights.CATEGORIES)
_ROWS = 80_000  # of training: enough for it, and the demo is up sooner


def train(rows: pd.DataFrame) -> HistGradientBoostingRegressor:
    """Fit the regressor on flights that arrived; it takes missing values."""
    arrived = rows[rows["arr_delay"].notna()]
    arrived = arrived.sample(min(_ROWS, len(arrived)), random_state=0)
    boost = HistGradientBoostingRegressor(max_iter=60, max_leaf_nodes=15, random_state=0)
    return boost.fit(arrived[list(FEATURES)], arrived["arr_delay"])


def minutes(model: HistGradientBoostingRegressor, rows: pd.DataFrame) -> np.ndarray:
    """The delay to expect of each row, minutes, float64; below 0 where it will be early."""
    return np.asarray(model.predict(rows[list(FEATURES)]), dtype=np.float64)


def freeze(model: HistGradientBoostingRegressor, rows: pd.DataFrame, training: pd.DataFrame) -> Reference:
    """The reference: what normal looks like in weeks that the model was not trained on."""
    arrived = rows[rows["arr_delay"].notna()]
    columns = [*FEATURES, "departed_at", "arr_delay"]
    return Reference.fit(
        arrived[columns].assign(minutes=minutes(model, arrived)),
        task="regression",
        features=list(FEATURES),
        prediction="minutes",
        label="arr_delay",
        time="departed_at",
        training=training[list(FEATURES)],
    )


save = partial(artefacts.save, file=MODEL_FILE)
load = partial(artefacts.load, file=MODEL_FILE)
