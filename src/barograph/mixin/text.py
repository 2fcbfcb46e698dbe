"""Files of the mixin as text: YAML that reads well and never changes by itself, and templates that lie beside this module."""

from importlib import resources
from typing import Any

import yaml

from barograph import __version__

_VERSION = "@VERSION@"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Lists are indented, texts of several lines stay so, and nothing is abbreviated by an alias."""

    def increase_indent(self, flow: bool = False, **_: Any) -> None:
        """Indent what a list holds, too."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, *_: Any) -> bool:
        """Write out what is there twice."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(*documents: Any, header: str = "") -> str:
    """One YAML file of these documents; `header` becomes a comment at its top.

    >>> print(to_yaml({"a": ["b"]}, header="Why."), end="")
    # Why.
    a:
      - b
    """
    comment = "".join(f"# {line}".rstrip() + "\n" for line in header.splitlines())
    text: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return comment + text


def template(name: str) -> str:
    """A file of the folder `templates`, with the package's version in it."""
    text = (resources.files("barograph.mixin") / "templates" / name).read_text("utf-8")
    return text.replace(_VERSION, __version__)
