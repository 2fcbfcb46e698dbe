"""Fire drills: a fault is injected into recorded traffic, which goes through the live code, and what is raised is told.

A drill that nothing notices says so. A new incident is a function, and its entry in `incidents.INCIDENTS`.
"""
