"""What barograph costs, beside what others cost for the same job or what the machine can do at best, in the same run.

`make bench` prints the table and writes docs/benchmarks.md and docs/benchmarks.json. One module measures one group of rows.
"""
