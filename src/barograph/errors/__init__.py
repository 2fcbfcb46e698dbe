"""Recurring errors: where a model is wrong again and again, by segment and range of a feature, and the rows to retrain it on."""
