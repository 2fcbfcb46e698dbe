"""Where things are on the console: the path of a model or a column by its name, and back."""

import re
from urllib.parse import quote

# Browsers drop "." and ".." from a path, however they are spelt. A tilde before them does not change what they are here.
_DOTS = re.compile(r"~*\.{1,2}")


def segment(name: str) -> str:
    """A name as one part of a path.

    >>> segment("team/risk 50 %"), segment("..")
    ('team%2Frisk%2050%20%25', '~..')
    """
    return quote(f"~{name}" if _DOTS.fullmatch(name) else name, safe="")


def named(part: str) -> str:
    """The name of a part of a path, once it is unquoted.

    >>> named("~.."), named("team/risk"), named("~risk")
    ('..', 'team/risk', '~risk')
    """
    return part[1:] if part.startswith("~") and _DOTS.fullmatch(part) else part


def model_path(model: str) -> str:
    """The page of a model.

    >>> model_path("a/b")
    '/models/a%2Fb'
    """
    return f"/models/{segment(model)}"
