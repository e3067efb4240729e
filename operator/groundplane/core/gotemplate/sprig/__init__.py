"""sprig: the functions that template authors expect beside the language's own.

Source: Masterminds/sprig v3.3.0; without `env` and `expandenv`, which the function takes away, too.
"""

from groundplane.core.gotemplate.sprig.containers import CONTAINERS
from groundplane.core.gotemplate.sprig.crypto import SECRETS
from groundplane.core.gotemplate.sprig.dates import DATES
from groundplane.core.gotemplate.sprig.encodings import ENCODINGS
from groundplane.core.gotemplate.sprig.library import Library
from groundplane.core.gotemplate.sprig.numbers import NUMBERS
from groundplane.core.gotemplate.sprig.regexps import REGEXPS
from groundplane.core.gotemplate.sprig.texts import TEXTS
from groundplane.core.gotemplate.sprig.web import WEB

SPRIG: Library = {**TEXTS, **NUMBERS, **CONTAINERS, **ENCODINGS, **REGEXPS, **DATES, **WEB, **SECRETS}
