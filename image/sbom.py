"""The SBOM of an image: what is installed in a folder, as CycloneDX 1.5 on stdout, the same bytes for the same packages.

python image/sbom.py FOLDER
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata


def components(folder: str) -> list[dict[str, str]]:
    """Each distribution in the folder: name as PyPI spells it, version, package URL."""
    found = {}
    for each in metadata.distributions(path=[folder]):
        name = re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower()
        url = f"pkg:pypi/{name}@{each.version}"
        found[name] = {"type": "library", "bom-ref": url, "name": name, "version": each.version, "purl": url}
    return [found[name] for name in sorted(found)]


def main() -> None:
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "groundplane", "name": "groundplane"}},
        "components": components(sys.argv[1]),
    }
    json.dump(document, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
