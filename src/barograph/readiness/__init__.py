"""Whether a model's monitoring can be relied on: facts in, answers out.

facts.py: what is seen now.  drilled.py: what the last drill found.  indicators.py: signals against matured outcomes.
rubric.py: the ML Test Score.  answers.py: sentences of all that.
"""
