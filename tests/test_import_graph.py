"""The rules about who may import whom, read from the source."""

import ast
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
METHODS = sorted(path.name for path in (SOURCE / "upseg" / "methods").iterdir() if (path / "__init__.py").exists())
# what a distribution is imported as, where that is not its name
MODULES_OF = {
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "huggingface-hub": "huggingface_hub",
    "myst-parser": "myst_parser",
    "pytest-xdist": "xdist",
    "faster-coco-eval": "faster_coco_eval",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST, module: str, *, is_package: bool) -> set[str]:
    """Every module that a source imports anywhere, `from a import b` as both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: None if is_package and node.level == 1 else -node.level + is_package or None]
            base = ".".join([*(parents if node.level else []), *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


GRAPH = {
    module_name(path): imports_of(ast.parse(path.read_text()), module_name(path), is_package=path.name == "__init__.py")
    for path in sorted(SOURCE.rglob("*.py"))
}


def is_in(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offences(who: Iterable[str], forbidden: Iterable[str]) -> list[str]:
    """The imports by modules of `who` of anything in `forbidden`."""
    who, forbidden = list(who), list(forbidden)
    importers = [module for module in GRAPH if is_in(module, who)]
    return [f"{m} imports {i}" for m in importers for i in sorted(GRAPH[m]) if is_in(i, forbidden)]


def inside(*names: str) -> list[str]:
    return [f"upseg.{name}" for name in names]


def test_the_source_is_found_and_imports_are_read_from_it() -> None:
    assert {"upseg", "upseg.cli", "upseg.segmentation", "upseg.models.registry"} <= set(GRAPH)
    assert "upseg.segmentation" in GRAPH["upseg.models.registry"]
    assert "torch" in GRAPH["upseg.models.registry"]  # inside a function
    assert "dynaseg" in METHODS


@pytest.mark.parametrize(
    ("source", "module", "is_package", "expected"),
    [
        ("import a.b", "p.m", False, {"a.b"}),
        ("from a import b", "p.m", False, {"a", "a.b"}),
        ("from . import b", "p.m", False, {"p", "p.b"}),
        ("from .b import c", "p.q.m", False, {"p.q.b", "p.q.b.c"}),
        ("from .b import c", "p.q", True, {"p.q.b", "p.q.b.c"}),
        ("from ..b import c", "p.q.m", False, {"p.b", "p.b.c"}),
        ("from ..b import c", "p.q", True, {"p.b", "p.b.c"}),
        ("def f():\n    import a", "p.m", False, {"a"}),
    ],
)
def test_all_kinds_of_imports_are_understood(source, module, is_package, expected) -> None:
    assert imports_of(ast.parse(source), module, is_package=is_package) == expected


def test_functional_and_layers_stand_below_everything_else() -> None:
    above = inside(
        "methods",
        "data",
        "formats",
        "metrics",
        "images",
        "models",
        "batch",
        "split",
        "training",
        "app",
        "commands",
        "cli",
    )
    assert offences(["upseg.functional"], [*above, "upseg.layers", "upseg.segmentation"]) == []
    assert offences(["upseg.layers"], [*above, "upseg.segmentation"]) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_method_knows_no_other_and_nothing_that_uses_methods(method) -> None:
    others = [f"upseg.methods.{other}" for other in METHODS if other != method]
    users = inside("training", "app", "cli", "commands", "models.registry", "batch", "split")
    assert offences([f"upseg.methods.{method}"], [*others, *users]) == []


def test_metrics_formats_and_data_know_no_method() -> None:
    assert offences(inside("metrics", "formats", "data", "segmentation"), ["upseg.methods"]) == []


def test_formats_know_nothing_of_the_command_line_models_or_metrics() -> None:
    above = inside("commands", "cli", "app", "training", "metrics", "models.registry", "batch", "split")
    assert offences(["upseg.formats"], above) == []


def test_no_room_below_the_batches_knows_of_them() -> None:
    below = inside("images", "data", "formats", "metrics", "models", "segmentation", "files", "settings")
    assert offences(below, inside("batch", "split", "commands", "cli")) == []
    assert offences(["upseg.batch"], inside("split", "commands", "cli")) == []
    assert offences(["upseg.split"], inside("commands", "cli")) == []


def test_the_frame_names_methods_only_as_text() -> None:
    assert offences(inside("images", "models", "batch", "split", "commands", "cli"), ["upseg.methods"]) == []


def test_only_training_imports_lightning() -> None:
    allowed = {f"upseg.methods.{method}.task" for method in METHODS}
    who = [module for module in GRAPH if not is_in(module, ["upseg.training"]) and module not in allowed]
    found = [f"{m} imports {i}" for m in who for i in GRAPH[m] if is_in(i, ["lightning", "pytorch_lightning"])]
    assert found == []


def distributions(extra: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["dependencies"] if extra == "core" else project["optional-dependencies"].get(extra, [])
    names = {"".join(c if c.isalnum() or c in "-_" else " " for c in entry).split()[0] for entry in listed}
    return {MODULES_OF.get(name, name) for name in names}


def test_what_is_installed_only_for_development_is_not_imported() -> None:
    development = distributions("dev") - distributions("core") - {"upseg"}
    assert {"pytest", "hypothesis", "pycocotools", "matplotlib"} <= development
    assert offences(["upseg"], development) == []


def test_the_core_imports_only_what_the_core_installs() -> None:
    allowed = distributions("core") | sys.stdlib_module_names | {"upseg", "click"}
    # what `import upseg` and `upseg segment` may need: training, evaluation and the web page have extras
    extras = [
        *inside("training", "app", "metrics", "data.sources.nyuv2", "data.depth_models"),
        *(f"upseg.methods.{method}.task" for method in METHODS),
    ]
    core = {module: imports for module, imports in GRAPH.items() if not is_in(module, extras)}
    found = [f"{m} imports {i}" for m, imports in core.items() for i in imports if i.partition(".")[0] not in allowed]
    assert found == []
