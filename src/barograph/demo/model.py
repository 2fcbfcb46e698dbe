"""The demo's model: will this flight arrive 15 minutes late or more, asked at its departure.

The weeks were chosen by what is in them. Times are UTC; a day in New York begins at 04:00Z.

- Training, 1 January to 8 September 2013: 224,676 labelled flights, 25.9 % late.
- Reference, the five weeks from 9 September to 13 October: 31,905 labelled flights, 15.6 % late, AUC 0.924. The weather feed
  has no gap in them, so that a gap is news; they hold five days of storms (12 and 13 September, 7, 10 and 11 October, 31 to
  50 % late), so that a storm is not.
- Live, from Monday 14 October, 09:20 in New York: 6,497 flights in the first seven days, 16.4 % late, AUC 0.876, and not one
  window in alarm. The days after it have what the data has: hours without any weather on 23, 25 and 26 October, 2 and
  4 November.
"""

import os
import stat
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from barograph import Reference
from barograph.demo import flights

NAME, VERSION = "flight-delay", "3"
THRESHOLD = 0.5
CONFIG = {"threshold": THRESHOLD}
TRAINING = ("2013-01-01T04:00Z", "2013-09-09T04:00Z")
REFERENCE = ("2013-09-09T04:00Z", "2013-10-14T04:00Z")
LIVE = "2013-10-14T13:20:00Z"
HISTORY_DAYS = 28  # of served traffic before it goes live
MODEL_FILE, REFERENCE_FILE = "flight-delay.joblib", "flight-delay.reference.json"
_IMPORTANCE_ROWS = 4_000


def train(rows: pd.DataFrame) -> Pipeline:
    """Fit the classifier on labelled rows; it takes missing values and categories that it has never seen."""
    labelled = rows[rows["late"].notna()]
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), list(flights.CATEGORIES)),
        remainder="passthrough",
    )
    boost = HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.1,
        max_leaf_nodes=15,
        categorical_features=list(range(len(flights.CATEGORIES))),
        random_state=0,
    )
    return make_pipeline(encode, boost).fit(labelled[list(flights.FEATURES)], labelled["late"].astype(bool))


def scores(model: Pipeline, rows: pd.DataFrame) -> np.ndarray:
    """P(late) of each row, float64."""
    answers: np.ndarray = model.predict_proba(rows[list(flights.FEATURES)])[:, 1]
    return answers


def auc(model: Pipeline, rows: pd.DataFrame) -> float:
    """Area under the ROC curve on the rows that have a label."""
    labelled = rows[rows["late"].notna()]
    return float(roc_auc_score(labelled["late"].astype(bool), scores(model, labelled)))


def freeze(model: Pipeline, rows: pd.DataFrame, training: pd.DataFrame) -> Reference:
    """The reference: what normal looks like in labelled weeks that the model was not trained on."""
    labelled = rows[rows["late"].notna()]
    columns = [*flights.FEATURES, "departed_at", "late"]
    return Reference.fit(
        labelled[columns].assign(p_late=scores(model, labelled)),
        task="binary",
        features=list(flights.FEATURES),
        score="p_late",
        threshold=THRESHOLD,
        label="late",
        time="departed_at",
        training=training[[*flights.FEATURES, "late"]],
        segments=["origin"],
        importance=importance(model, labelled),
    )


def importance(model: Pipeline, rows: pd.DataFrame) -> dict[str, float]:
    """By feature, the share of the AUC that shuffling it costs; shares add up to 1."""
    some = rows.sample(min(_IMPORTANCE_ROWS, len(rows)), random_state=0)
    features = some[list(flights.FEATURES)]
    found = permutation_importance(
        model, features, some["late"].astype(bool), scoring="roc_auc", n_repeats=2, random_state=0
    )
    loss = np.maximum(found.importances_mean, 0.0)
    return dict(zip(flights.FEATURES, (loss / loss.sum()).tolist(), strict=True))


def save(model: Any, directory: Path, file: str = MODEL_FILE) -> Path:
    """Write a model into the demo's own directory."""
    path = directory / file
    joblib.dump(model, path)
    return path


def load(directory: Path, file: str = MODEL_FILE) -> Any:
    """Read the model that `save` wrote, from the demo's own directory.

    A joblib file runs code when it is read. So it is read from nowhere but a directory that `require_private` accepts, which
    is what the demo makes for itself. (A service that trains the model itself at each start would need no file; but services
    read files, and the monitor identifies this one by its digest.)
    """
    require_private(directory)
    return joblib.load(directory / file)


def require_private(directory: Path) -> None:
    """PermissionError unless the directory, and a model in it, belong to this user and nobody else can write to them."""
    for place in (directory, *directory.glob("*.joblib")):
        status = place.stat()
        mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        if not mine or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                f"{place} is not this user's alone, and the model in it runs code when it is read; "
                f"chmod go-w {directory}, or use another directory"
            )
