"""Commands that GitHub Actions reads from a log, and shows beside the lines of a pull request."""

from __future__ import annotations

from groundplane.cli.documents import Place


def command(level: str, place: Place, title: str, text: str) -> str:
    """
    >>> command("error", Place("a,b.yaml", 3, 5), "DB good", "one\\ntwo 100 %")
    '::error file=a%2Cb.yaml,line=3,col=5,title=DB good::one%0Atwo 100 %25'
    """
    properties = {"file": place.file, "line": place.line, "col": place.column, "title": title}
    words = ",".join(f"{name}={_escaped(str(value), of_property=True)}" for name, value in properties.items() if value)
    return f"::{level} {words}::{_escaped(text)}"


def _escaped(text: str, *, of_property: bool = False) -> str:
    found = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return found.replace(":", "%3A").replace(",", "%2C") if of_property else found
