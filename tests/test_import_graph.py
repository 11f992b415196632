"""The rules about who may import whom, read from the source."""

import ast
import sys
import tomllib
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
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
    "pyyaml": "yaml",
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


# Rooms, each with modules of `upseg` or whole packages; one may use those above it here, and its own.
# Models stand below the methods, whose segmenters inherit from `upseg.models.learned`; `models.registry` names the
# methods only as text, and so does everything that uses them through it.
ROOMS = (
    ("errors", "files", "lazy", "predicted_depth", "functional"),
    ("settings", "layers", "images", "hierarchy", "yaml_files", "work_folder"),
    ("segmentation",),
    ("selection", "measurements"),
    ("formats",),
    ("models", "metrics"),
    ("comparison", "inference"),
    ("data",),
    ("batch", "training", "evaluation"),
    ("split", "exchange"),
    ("methods",),
    ("app",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
# what else a room may not use, although it stands above, and who in it may
KEPT_OUT = (
    ("layers", ("files", "predicted_depth"), ()),
    ("metrics", ("images",), ()),
    ("methods", ("batch", "split", "evaluation", "models.registry"), ()),
    (
        "methods",
        ("training",),
        (*(f"methods.{method}.task" for method in METHODS), "methods.entity.extensions.cells.task"),
    ),
    ("commands", ("methods",), ()),
    ("app", ("methods",), ()),
    ("cli", ("methods",), ()),
)


def test_every_room_has_its_place() -> None:
    rooms = {module.split(".")[1] for module in GRAPH if module != "upseg"}
    assert rooms - {room for row in ROOMS for room in row} == set()


@pytest.mark.parametrize("row", range(len(ROOMS)))
def test_a_room_uses_only_rooms_above_it_in_the_list(row) -> None:
    for room in ROOMS[row]:
        others = [other for other in ROOMS[row] if other != room]
        later = [other for below in ROOMS[row + 1 :] for other in below]
        assert offences(inside(room), inside(*others, *later)) == []


@pytest.mark.parametrize(("room", "kept_out", "exceptions"), KEPT_OUT)
def test_some_rooms_stay_apart(room, kept_out, exceptions) -> None:
    found = offences(inside(room), inside(*kept_out))
    assert [line for line in found if line.partition(" ")[0] not in inside(*exceptions)] == []


def test_a_method_imports_no_other() -> None:
    for method in METHODS:
        others = [f"methods.{other}" for other in METHODS if other != method]
        assert offences(inside(f"methods.{method}"), inside(*others)) == []


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Modules of which each imports the next and the last the first; empty if there is no such circle."""
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    own = {module: sorted({i for i in imports if i in GRAPH} - {module}) for module, imports in GRAPH.items()}
    assert circle(own) == []


def test_a_circle_is_found_wherever_its_imports_stand() -> None:
    sources = {"a": "import b", "b": "def f():\n    from c import d", "c": "if TYPE_CHECKING:\n    import a", "d": ""}
    graph = {module: imports_of(ast.parse(source), module, is_package=False) for module, source in sources.items()}
    assert set(circle(graph)) == {"a", "b", "c"}
    assert circle({**graph, "c": ()}) == []


def test_only_training_imports_lightning() -> None:
    who = [module for module in GRAPH if not is_in(module, ["upseg.training"])]
    found = [f"{m} imports {i}" for m in who for i in GRAPH[m] if is_in(i, ["lightning", "pytorch_lightning"])]
    assert found == []


def distributions(extra: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["dependencies"] if extra == "core" else project["optional-dependencies"].get(extra, [])
    names = {"".join(c if c.isalnum() or c in "-_" else " " for c in entry).split()[0] for entry in listed}
    return {MODULES_OF.get(name, name) for name in names}


def test_what_is_installed_only_for_development_is_not_imported() -> None:
    development = distributions("dev") - distributions("core") - distributions("exchange") - {"upseg"}
    assert {"pytest", "hypothesis", "pycocotools", "matplotlib"} <= development
    assert offences(["upseg"], development) == []


def test_the_core_imports_only_what_the_core_installs() -> None:
    allowed = distributions("core") | sys.stdlib_module_names | {"upseg", "click"}
    # what `import upseg` and `upseg segment` may need: training, evaluation, the web page and other engines have extras
    extras = [
        *inside("training", "app", "metrics", "data.sources.nyuv2", "data.depth_models", "models.engines"),
        *(f"upseg.methods.{method}.task" for method in METHODS),
    ]
    core = {module: imports for module, imports in GRAPH.items() if not is_in(module, extras)}
    # only where an exchange with them is asked for
    for module in ("upseg.formats.imagej_rois", "upseg.segmentation.labelled"):
        core[module] = core[module] - distributions("exchange")
    for module in ("upseg.batch.ray_pipeline", "upseg.batch.stores"):
        core[module] = {name for name in core[module] if name.partition(".")[0] not in distributions("batch")}
    core["upseg.images.ome_zarr"] = core["upseg.images.ome_zarr"] - distributions("big")
    found = [f"{m} imports {i}" for m, imports in core.items() for i in imports if i.partition(".")[0] not in allowed]
    assert found == []
