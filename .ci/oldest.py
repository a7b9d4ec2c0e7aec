"""Prints the oldest versions that pyproject.toml allows, of the library and its tests, as constraints of pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
extras = project["optional-dependencies"]
of_tools = ("dev", "docs", "notebook")
for requirement in sum((extras[name] for name in extras if name not in of_tools), project["dependencies"]):
    if not requirement.startswith("jaxae["):
        name, version = re.match(r"([\w.-]+)>=([\w.]+)", requirement).groups()
        print(f"{name}=={version}")
