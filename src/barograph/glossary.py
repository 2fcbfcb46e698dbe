"""The glossary: one or two plain sentences for each term. Panels' help, pages and docs say these and no others."""

GLOSSARY: dict[str, str] = {
    "alert": "A condition that a rule found and that lasted. It is pending until it has lasted long enough, then it fires, "
    "and it is resolved when the condition has been gone for a while.",
    "availability": "The share of calls that succeed, over a time. An objective says how high it must be.",
    "bins": "The edges and categories that the reference froze, named by an id. Counts over different bins are never added.",
    "budget of false alarms": "How often a model's own ordinary weeks may raise an alarm: once a month, unless its owner says "
    "otherwise. Thresholds are calibrated to it.",
    "burn rate": "How fast the error budget is used up. At 1 it lasts exactly as long as the objective's window, at 14.4 a "
    "month's budget is gone in two days.",
    "call": "A timed request to a model, or a row where nothing is timed. Calls that failed are counted among them.",
    "cell": "A group of a column's bins: 16 of about equal share in the reference (32 of a score), and one each for out of "
    "range, exactly zero, a sentinel, missing, invalid and unseen values.",
    "concept drift": "The same score stands for another chance than it did: what the model learnt is no longer so, whatever "
    "its inputs look like. Told by labels alone.",
    "confirmed": "Of predictions of which nearly all labels have come. Only confirmed metrics raise alerts.",
    "dependency": "A package that matters to a model. It should run in the version that the model was trained with.",
    "deployment": "A version, artifact, reference or configuration of a model that was not running before.",
    "digest": "The SHA-256 of the artifact that a process loaded. Two digests under one version are two models.",
    "empty share": "The share of answers that hold nothing: no recommendation, no class, no number.",
    "error budget": "The share of calls that may fail before the objective is missed: 0.1 % for an objective of 99.9 %.",
    "estimated": "What scores promise before there are labels, if they still mean what they meant in the reference.",
    "evaluator": "The process that judges every model's counts by the hour and raises alerts on drift. It holds no traffic.",
    "fear": "What a stakeholder says must not happen, as a metric of outcomes and its limit.",
    "indicator": "A signal that rose on days on which answers were worse, as far as labels tell. That proves no cause.",
    "label": "What became true of a prediction: paid back or not, late or on time. It may come months later.",
    "live": "What was counted in production over the time that is looked at.",
    "mean and highest": "The mean hides rare slow calls, the highest shows only the slowest. The highest is the upper edge of "
    "the slowest call's bucket.",
    "objective": "What the owner promises: a share of calls that succeed, or that take no longer than so many seconds.",
    "overridden": "An answer that a rule of post-processing changed before it was delivered.",
    "page": "An alert that wakes somebody: users notice what it is about.",
    "PSI": "Population stability index: the sum of (q - p) ln(q / p) over 18 cells, q live and p reference, half a row added to "
    "each cell, minus the part that chance adds. 0 is no change. Common usage calls 0.1 notable and 0.2 large.",
    "quantile": "p95 is the time that 95 of 100 calls do not exceed. It is exact to a bucket's width.",
    "readiness": "Whether monitoring can be relied on, told by what it judges now and by what the last drill found.",
    "reference": "What normal looks like: a held-out period close to production, frozen once. Drift is live against reference.",
    "replica": "One of several processes that serve the same model. Their counts add up.",
    "role": "What a column is to the model: feature, score, prediction, heuristic or segment.",
    "schema violation": "A value that the reference's schema does not allow: of the wrong type, out of range, or a category "
    "never seen.",
    "score": "The number that a model computes before it decides. The decision threshold makes an answer of it.",
    "segment": "A part of the traffic that is looked at by itself, such as a region, or customers who were let "
    "through on purpose.",
    "series": "One line of Prometheus: a metric with one combination of labels. Memory and queries cost by their number.",
    "signal": "A number that says how far a column is from the reference in one judged hour. There are five: D, L, A, U and O.",
    "signal A": "Missing: the difference between the live and the reference's share of missing or invalid values.",
    "signal D": "Shape: how far the distribution is from the reference's. Over the shares of 18 cells it is 2 times the sum of "
    "q ln(q / p), q live and p reference, in nats.",
    "signal L": "Location: how far the mean rank among the reference's values has moved, in standard deviations of that rank. "
    "For numbers only.",
    "signal O": "Out of range: the share of values out of range or invalid, above the reference's own.",
    "signal U": "Unseen: the share of values that the reference never had. For closed sets of categories only.",
    "skew": "Production never looked like the training data: a difference of code or data between training and serving, there "
    "since the first hour of a version.",
    "slow leak": "Quality that gets worse too little a day for any one day to show it. The sum of weeks does.",
    "stage": "A part of a request that is timed apart: retrieval, feature store, ranking. The stage total is all of it.",
    "threshold": "The level of a signal that the model's own ordinary weeks cross about once per budget of false alarms. It "
    "depends on the number of rows, and is therefore shown as a line of its own.",
    "ticket": "An alert for working hours: a cause, or something that users do not notice yet.",
    "too few rows": "Below 30 rows nothing is said about a window. That is not 0, and not green.",
    "usual": "The median of the same hour of the week in the last four weeks.",
    "version": "A model's version as the service names it. Each is judged by its own reference.",
    "weighted": "Early labels, each counted as often as it stands for others that are still to come, by how labels of "
    "complete days came.",
}  # fmt: skip
