"""Heuristics over the prediction log: each row is read once, and counted into the tiles as a column of its version."""
