"""`python -m barograph` is `barograph`."""

from barograph.cli import main

if __name__ == "__main__":
    main()
