"""`python -m benchmarks`: all rows, or those that are named."""

from benchmarks.run import main

main()
