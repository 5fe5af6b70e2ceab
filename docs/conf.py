"""The site: ``sphinx-build -W -n docs build/docs``, with the extra ``docs``.

Pages of public modules are made anew by each build, so that no public name is without a page.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pydoc
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "homfast"
WITHOUT_PAGE = ("homfast.experiments",)  # a command's, see docs/theory.md
sys.path.insert(0, str(HERE.parent))  # this checkout, whatever is installed

version_file = PACKAGE / "_version.py"
project = "homfast"
release = version = ast.literal_eval(version_file.read_text().rpartition("=")[2].strip())
author = "the homfast authors"
extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_parser"]
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = f"homfast {version}"
html_copy_source = False

default_role = "py:obj"  # a name in single backquotes is a link where there is such a name
add_module_names = False
autodoc_default_options = {
    "members": True,
    "member-order": "groupwise",
    "show-inheritance": True,
    "inherited-members": "Operator,Module,Linear,Sequential,tuple",  # but not from these on
}
autodoc_mock_imports = [name for name in ("torch",) if not importlib.util.find_spec(name)]
autodoc_typehints = "none"  # the docstrings have types, shapes and dtypes
numpydoc_show_class_members = False  # autodoc lists them
numpydoc_class_members_toctree = False

myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # README's part begins where README begins


def public_modules() -> dict[str, list[str]]:
    """By the name of a module, what its ``__all__`` lists; nothing is imported.

    They are `homfast`, what is in it with an ``__all__``, and the modules that these list.
    """
    found, paths = {}, [PACKAGE, *sorted(PACKAGE.iterdir())]
    for path in paths:
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if path.name.startswith("_") or name in WITHOUT_PAGE:
            continue
        source = path / "__init__.py" if path.is_dir() else path
        if source.suffix != ".py" or not source.exists():
            continue
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                found[name] = ast.literal_eval(node.value)
                paths += [path / f"{each}.py" for each in found[name] if path != PACKAGE]
    return found


def write_pages(app, config) -> None:
    """A page a public module, and the list of them; files that are as wanted are left alone."""
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    modules = public_modules()
    pages = {f"{name}.rst": page(name, modules) for name in modules}
    listed = "\n".join(f"   {name}" for name in modules)
    pages["index.rst"] = f"API\n===\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    for path in folder.glob("*.rst"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def page(name: str, modules: dict[str, list[str]]) -> str:
    """All public names of a module: modules as links, the others with their docstrings."""
    text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n"
    for each in modules[name]:
        if f"{name}.{each}" in modules:
            text += f"\n:doc:`{name}.{each}`\n"
        elif each.startswith("__"):
            text += f"\n.. autodata:: {name}.{each}\n"
    return text


def show_public_bases(app, name, cls, options, bases) -> None:
    """The nearest base that has a page, in the place of those between."""
    public = {
        getattr(sys.modules[module], each, None): f"{module}.{each}"
        for module, names in public_modules().items()
        if module in sys.modules
        for each in names
    }
    for base in cls.__mro__[1:]:
        if base in public or not base.__module__.startswith("homfast"):
            bases[:] = [f":py:class:`{public[base]}`" if base in public else base]
            return


def show_signature(app, what, name, found, options, signature, returns):
    """That of ``__init__``, where ``__new__`` takes whatever comes; classes by their names."""
    if what == "class" and signature and signature.startswith("(*arguments"):
        parameters = list(inspect.signature(found.__init__).parameters.values())[1:]
        plain = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
        signature = str(inspect.Signature(plain))
    return re.sub(r"<class '([\w.]+)'>", r"\1", signature or "") or None, returns


def is_fine(app, domain, node) -> bool | None:
    """Single backquotes mark arguments, too: what has to be found are names of homfast.

    What is there without a page, as the specification of a stream, is named without a link.
    """
    target = node["reftarget"]
    if not target.startswith("homfast"):
        return True
    return True if pydoc.locate(target) is not None else None


def setup(app) -> None:
    app.connect("config-inited", write_pages)
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("autodoc-process-signature", show_signature)
    app.connect("warn-missing-reference", is_fine)
