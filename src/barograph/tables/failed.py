"""What is raised where rows cannot be imported."""


class ImportFailed(ValueError):
    """Rows that cannot be read: what is wrong, and the remedy. It tells no secret of an address."""
