"""The static mixin: rules, alerts, dashboards, runbooks and the files that run them, for every model there is or will be.

Nothing in it names a model: models, columns and thresholds are label values and series.
"""
