"""sprig's functions for text.

Source: Masterminds/sprig v3.3.0 `strings.go`, and what of goutils and xstrings v1.5 it calls.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Callable
from typing import Literal

from groundplane.core import goformat
from groundplane.core.fieldpath import utf8
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import Run, check_items, check_length
from groundplane.core.gotemplate.sprig.library import Library, function, text_of, texts_of
from groundplane.core.gotemplate.values import Int, StringMap, Strings, Value, sliced, text_length

TEXTS: Library = {}

_SPACES = " \t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


def upper(text: str) -> str:
    """Character by character, as Go does: what would become two stays."""
    if text.isascii():
        return text.upper()
    return "".join(changed if len(changed := character.upper()) == 1 else character for character in text)


def lower(text: str) -> str:
    if text.isascii():
        return text.lower()
    return "".join(character.lower()[0] for character in text)


function(TEXTS, "hello")(lambda: "Hello!")
function(TEXTS, "upper", "string")(upper)
function(TEXTS, "lower", "string")(lower)
function(TEXTS, "trim", "string")(lambda text: text.strip(_SPACES))
function(TEXTS, "trimAll trimall", "string string")(
    lambda characters, text: text.strip(characters) if characters else text
)
function(TEXTS, "trimSuffix", "string string")(lambda suffix, text: text.removesuffix(suffix))
function(TEXTS, "trimPrefix", "string string")(lambda prefix, text: text.removeprefix(prefix))
function(TEXTS, "contains", "string string")(lambda part, text: part in text)
function(TEXTS, "hasPrefix", "string string")(lambda prefix, text: text.startswith(prefix))
function(TEXTS, "hasSuffix", "string string")(lambda suffix, text: text.endswith(suffix))
function(TEXTS, "plural", "string string int")(lambda one, many, count: one if count == 1 else many)
function(TEXTS, "toString", "any")(text_of)
function(TEXTS, "toStrings", "any")(texts_of)


@function(TEXTS, "title", "string")
def title(text: str) -> str:
    out = []
    before = " "
    for character in text:
        out.append(upper(character) if _separates(before) else character)
        before = character
    return "".join(out)


def _separates(character: str) -> bool:
    if character.isalnum() or character == "_":
        return False
    return character.isascii() or character in _SPACES


@function(TEXTS, "untitle", "string")
def untitle(text: str) -> str:
    out = []
    begins = True
    for character in text:
        is_space = character in _SPACES
        out.append(lower(character) if begins and not is_space else character)
        begins = is_space
    return "".join(out)


@function(TEXTS, "initials", "string")
def initials(text: str) -> str:
    out = []
    begins = True
    for character in text:
        if character in _SPACES:
            begins = True
        elif begins:
            out.append(character)
            begins = False
    return "".join(out)


@function(TEXTS, "nospace", "string")
def nospace(text: str) -> str:
    return "".join(character for character in text if character not in _SPACES)


@function(TEXTS, "swapcase", "string")
def swapcase(text: str) -> str:
    return "".join(lower(each) if each.isupper() else upper(each) if each.islower() else each for each in text)


@function(TEXTS, "shuffle", "string", wants_run=True, is_random=True)
def shuffle(run: Run, text: str) -> str:
    characters = list(text)
    for last in range(len(characters) - 1, 0, -1):
        other = int.from_bytes(run.random(8)) % (last + 1)
        characters[last], characters[other] = characters[other], characters[last]
    return "".join(characters)


@function(TEXTS, "repeat", "int string")
def repeat(count: int, text: str) -> str:
    if count < 0:
        raise Failure("strings: negative Repeat count")
    check_length(count * len(text))
    return text * count


@function(TEXTS, "substr", "int int string")
def substr(start: int, end: int, text: str) -> str:
    size = text_length(text)
    if start < 0:
        if not 0 <= end <= size:
            raise Failure(
                f"runtime error: slice bounds out of range [:{end}]{f' with length {size}' if end > size else ''}"
            )
        return sliced(text, 0, end)
    if end < 0 or end > size:
        if start > size:
            raise Failure(f"runtime error: slice bounds out of range [{start}:{size}]", "look at len first")
        return sliced(text, start, None)
    if start > end:
        raise Failure(f"runtime error: slice bounds out of range [{start}:{end}]")
    return sliced(text, start, end)


@function(TEXTS, "trunc", "int string")
def trunc(count: int, text: str) -> str:
    size = text_length(text)
    if count < 0 and size + count > 0:
        return sliced(text, size + count, None)
    if 0 <= count < size:
        return sliced(text, 0, count)
    return text


@function(TEXTS, "abbrev", "int string")
def abbrev(width: int, text: str) -> str:
    return text if width < 4 else _abbreviated(text, 0, width)


@function(TEXTS, "abbrevboth", "int int string")
def abbrevboth(left: int, right: int, text: str) -> str:
    return text if right < 4 or (left > 0 and right < 7) else _abbreviated(text, left, right)


def _abbreviated(text: str, offset: int, width: int) -> str:
    size = text_length(text)
    if size <= width:
        return text
    offset = min(offset, size)
    if size - offset < width - 3:
        offset = size - (width - 3)
    if offset <= 4:
        return sliced(text, 0, width - 3) + "..."
    if width < 7:
        return ""
    if offset + width - 3 < size:
        return "..." + _abbreviated(sliced(text, offset, None), 0, width - 3)
    return "..." + sliced(text, size - (width - 3), None)


@function(TEXTS, "quote", "", "any")
def quote(*values: Value) -> str:
    return _joined(goformat.sprintf("%q", text_of(value)) for value in values if value is not None)


@function(TEXTS, "squote", "", "any")
def squote(*values: Value) -> str:
    return _joined(f"'{text_of(value)}'" for value in values if value is not None)


@function(TEXTS, "cat", "", "any")
def cat(*values: Value) -> str:
    return _joined(goformat.text(value) for value in values if value is not None)


def _joined(parts: Value) -> str:
    out: list[str] = []
    total = 0
    for part in parts:
        total += len(part) + 1
        check_length(total)
        out.append(part)
    return " ".join(out)


@function(TEXTS, "indent", "int string")
def indent(spaces: int, text: str) -> str:
    if spaces < 0:
        raise Failure("strings: negative Repeat count")
    check_length(len(text) + spaces * (text.count("\n") + 1))
    padding = " " * spaces
    return padding + text.replace("\n", "\n" + padding)


@function(TEXTS, "nindent", "int string")
def nindent(spaces: int, text: str) -> str:
    return "\n" + indent(spaces, text)


@function(TEXTS, "replace", "string string string")
def replace(old: str, new: str, text: str) -> str:
    found = text.count(old) if old else len(text) + 1
    check_length(len(text) + found * len(new))
    return text.replace(old, new)


# --- lists of text -------------------------------------------------------------------------------------------------


def parts_of(text: str, separator: str, most: int = -1) -> list[str]:
    """strings.SplitN: an empty separator splits into characters."""
    if most == 0:
        return []
    if separator:
        check_items(text.count(separator) + 1)
        return text.split(separator, most - 1 if most > 0 else -1)
    check_items(len(text))
    characters = list(text)
    if 0 < most < len(characters):
        return characters[: most - 1] + ["".join(characters[most - 1 :])]
    return characters


@function(TEXTS, "split", "string string")
def split(separator: str, text: str) -> StringMap:
    return StringMap({f"_{index}": part for index, part in enumerate(parts_of(text, separator))})


@function(TEXTS, "splitn", "string int string")
def splitn(separator: str, most: int, text: str) -> StringMap:
    return StringMap({f"_{index}": part for index, part in enumerate(parts_of(text, separator, most))})


@function(TEXTS, "splitList", "string string")
def split_list(separator: str, text: str) -> Strings:
    return Strings(parts_of(text, separator))


@function(TEXTS, "join", "string any")
def join(separator: str, value: Value) -> str:
    found = texts_of(value)
    check_length(len(separator) * len(found))
    return separator.join(found)


@function(TEXTS, "sortAlpha", "any")
def sort_alpha(value: Value) -> Strings:
    found = texts_of(value) if isinstance(value, list) else Strings([text_of(value)])
    return Strings(sorted(found, key=utf8))


# --- wrapping ------------------------------------------------------------------------------------------------------


@function(TEXTS, "wrap", "int string")
def wrap(width: int, text: str) -> str:
    return _wrapped(text, width, "\n", breaks_words=False)


@function(TEXTS, "wrapWith", "int string string")
def wrap_with(width: int, line_end: str, text: str) -> str:
    return _wrapped(text, width, line_end or "\n", breaks_words=True)


def _wrapped(text: str, width: int, line_end: str, *, breaks_words: bool) -> str:
    data, between, width = utf8(text), utf8(line_end), max(width, 1)
    check_length(len(data) + len(between) * (len(data) // min(width, len(data) + 1) + 1))
    out: list[bytes] = []
    offset = 0
    while len(data) - offset > width:
        if data[offset : offset + 1] == b" ":
            offset += 1
            continue
        space = data.rfind(b" ", offset, offset + width + 1)
        if space >= 0:
            end, after = space, space + 1
        elif breaks_words:
            end = after = offset + width
        else:
            space = data.find(b" ", offset + width)
            if space < 0:
                break
            end, after = space, space + 1
        out += [data[offset:end], between]
        offset = after
    return b"".join([*out, data[offset:]]).decode("utf-8", "surrogateescape")


# --- cases ---------------------------------------------------------------------------------------------------------

_Word = Literal["", "connector", "punctuation", "upper", "letters", "number", "other"]


def _connects(character: str) -> bool:
    return character in "-_" or character in _SPACES


def _punctuates(character: str) -> bool:
    return unicodedata.category(character).startswith("P")


def _numbers(character: str) -> bool:
    return unicodedata.category(character).startswith("N")


def _is_letter(character: str) -> bool:
    """A letter of an alphabet: Chinese, Japanese and Korean ones have no cases, and are none here."""
    return character.isalpha() and not ("\u2e80" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3")


def _next_word(text: str, start: int) -> tuple[_Word, int]:
    """The kind of the word that begins at a place, and where it ends."""
    if start >= len(text):
        return "", start
    first = text[start]
    end = start + 1

    def run(accepts: Callable[[str], bool], position: int) -> int:
        while position < len(text) and accepts(text[position]):
            position += 1
        return position

    if _connects(first):
        return "connector", run(_connects, end)
    if _punctuates(first):
        return "punctuation", run(_punctuates, end)
    if first.isupper():
        if end < len(text) and text[end].isupper():
            end = run(str.isupper, end)
            return "upper", end - 1 if end < len(text) and _is_letter(text[end]) else end
        return "upper", run(lambda each: _is_letter(each) and not each.isupper(), end)
    if _is_letter(first):
        return "letters", run(lambda each: _is_letter(each) and not each.isupper(), end)
    if _numbers(first):
        return "number", run(_numbers, end)
    return "other", run(
        lambda each: not (_connects(each) or _is_letter(each) or _numbers(each) or _punctuates(each)), end
    )


def _lowered(word: _Word, text: str, connector: str) -> str:
    if word not in ("upper", "connector"):
        return text
    return "".join(connector if _connects(each) else lower(each) for each in text)


def _with_connectors(text: str, connector: str) -> str:
    out: list[str] = []
    at = 0

    def read() -> tuple[_Word, str]:
        nonlocal at
        word, end = _next_word(text, at)
        part, at = text[at:end], end
        return word, part

    word, part = read()
    while at < len(text):
        if word != "connector":
            out.append(_lowered(word, part, connector))
        before, last = word, part
        word, part = read()
        if before == "number":
            while word in ("letters", "number"):
                out.append(_lowered(word, part, connector))
                word, part = read()
            if word not in ("", "punctuation", "connector"):
                out.append(connector)
        elif before == "connector":
            out.append(_lowered(before, last, connector))
        elif before != "punctuation":
            if word != "number":
                if word not in ("connector", "punctuation"):
                    out.append(connector)
                continue
            if at >= len(text):
                continue
            number = part
            word, part = read()
            if word != "letters":
                out.append(number)
                if word not in ("connector", "punctuation"):
                    out.append(connector)
                continue
            out += [connector, number]
            while word in ("letters", "number"):
                out.append(_lowered(word, part, connector))
                word, part = read()
            if word not in ("", "connector", "punctuation"):
                out.append(connector)
    out.append(_lowered(word, part, connector))
    return "".join(out)


function(TEXTS, "snakecase", "string")(lambda text: _with_connectors(text, "_"))
function(TEXTS, "kebabcase", "string")(lambda text: _with_connectors(text, "-"))


@function(TEXTS, "camelcase", "string")
def camelcase(text: str) -> str:
    """Each word with a capital; connectors at the start and doubled ones stay."""
    start = 0
    while start < len(text) and _connects(text[start]):
        start += 1
    if start >= len(text):
        return text + text[-1:]  # as the original has it
    out = [text[:start]]
    in_capitals = text[start].isupper()
    now = upper(text[start])
    for character in text[start + 1 :]:
        before, now = now, character
        if _connects(now) and _connects(before):
            out.append(before)
            continue
        if _connects(before):
            in_capitals = now.isupper()
            now = upper(now)
            continue
        if in_capitals:
            if now.isupper():
                now = lower(now)
            else:
                in_capitals = False
        out.append(before)
    return "".join([*out, now])


# --- paths ---------------------------------------------------------------------------------------------------------


@function(TEXTS, "clean osClean", "string")
def clean(path: str) -> str:
    """Go's path.Clean: as POSIX, but for two slashes at the start."""
    if not path:
        return "."
    return posixpath.normpath("/" + path.lstrip("/") if path.startswith("/") else path)


@function(TEXTS, "base osBase", "string")
def base(path: str) -> str:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


@function(TEXTS, "dir osDir", "string")
def directory(path: str) -> str:
    return clean(path[: path.rfind("/") + 1])


@function(TEXTS, "ext osExt", "string")
def extension(path: str) -> str:
    name = path[path.rfind("/") + 1 :]
    return name[name.rfind(".") :] if "." in name else ""


function(TEXTS, "isAbs osIsAbs", "string")(lambda path: path.startswith("/"))
function(TEXTS, "atoi", "string")(lambda text: Int(_decimal(text)))


def _decimal(text: str) -> int:
    """strconv.Atoi without its error: 0, or as far as 64 bits reach."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits or not digits.isascii() or not digits.isdigit():
        return 0
    if len(digits.lstrip("0")) > 19:
        return -(2**63) if text[0] == "-" else 2**63 - 1
    return max(-(2**63), min(2**63 - 1, int(text)))
