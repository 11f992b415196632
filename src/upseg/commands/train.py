"""`upseg train`: a recipe in, a trained method out."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upseg.commands.options import INTERRUPTED, Channels, Normalize, channel_numbers, check_installed, print_table
from upseg.errors import UpsegError

if TYPE_CHECKING:
    from upseg.training.cli import Training


_Configurations = Annotated[
    list[str] | None,
    typer.Option(
        "--config", "-c", help="A YAML file, or the name of a recipe that --list shows; of several the later wins."
    ),
]
_DataRoot = Annotated[
    Path | None, typer.Option("--data_root", "--data-root", help="Folder of the data, where the recipe asks for it.")
]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the run; runs/ and the recipe's name unless it says another."),
]
_Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the last checkpoint; without --config with that of the run.")
]
_Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Let the recipe run any code that it names, not only upseg's: for recipes that you know."
    ),
]
_Rest = Annotated[
    list[str] | None, typer.Argument(metavar="[--SECTION.OPTION VALUE]...", help="Anything in the recipe, said anew.")
]
_Start = Annotated[
    str | None,
    typer.Option(
        "--init-from",
        "--init_from",
        help="What to start from: a model that comes with upseg, a model folder, a hub model, or a checkpoint.",
    ),
]
_Minutes = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="The most that the training takes, validation and saving too; the learning rate fits it. null: no limit.",
    ),
]
_List = Annotated[bool, typer.Option("--list", help="List the recipes that come with upseg, and train nothing.")]
# the options of recipes are for Lightning to understand
EXTRA_ARGUMENTS = {"ignore_unknown_options": True}


def train(
    rest: _Rest = None,
    configurations: _Configurations = None,
    data_root: _DataRoot = None,
    output: _Output = None,
    resume: _Resume = False,
    trust: _Trust = False,
    channels: Channels = None,
    normalize: Normalize = None,
    init_from: _Start = None,
    minutes: _Minutes = None,
    list_recipes: _List = False,
) -> None:
    """Train a method from a recipe.

    What is in the recipe can be changed here too: --trainer.max_epochs 3 --data.batch_size 4. With --print_config it
    shows everything that can be set, and trains nothing.
    """
    began = time.monotonic()
    from upseg.training.recipes import describe, find_recipe, name_of, recipes

    if list_recipes:
        print_table(("recipe", "what it trains"), ((name, describe(path)) for name, path in recipes().items()))
        return
    check_installed("training", "train", "lightning", "jsonargparse", "omegaconf", "tensorboard", "torchmetrics")
    paths = [find_recipe(name) for name in configurations or ()]
    if not paths and resume and output is not None:
        paths = [_configuration_of(output)]
    if not paths:
        raise UpsegError("name a recipe with --config, or a run to go on with: --resume --output FOLDER")
    numbers = channel_numbers(channels)
    own = {
        "--data_root": data_root,
        "--output": output,
        "--data.channels": None if numbers is None else list(numbers),
        "--data.normalize": normalize,
        "--model.init_args.init_from": init_from,
        "--minutes": minutes,
    }
    given = (word for name, value in own.items() if value is not None for word in (name, str(value)))
    options = [*(rest or ()), *given]
    _train(paths, options, Path("runs", name_of(paths[0])), resume=resume, trust=trust, began=began)


def _train(paths: list[Path], options: list[str], output: Path, *, resume: bool, trust: bool, began: float) -> None:
    from upseg.training.cli import Training

    training = Training(paths, options, output=output, resume=resume, trust=trust, began=began)
    try:
        training.run()
    except KeyboardInterrupt:
        typer.echo(f"upseg: stopped; the same command with --resume goes on from {training.output}", err=True)
        _say_use(training)
        raise typer.Exit(INTERRUPTED) from None
    if training.trainer.is_global_zero:
        typer.echo(f"trained; checkpoints, pictures and numbers are in {training.output}")
        _say_use(training)


def _say_use(training: Training) -> None:
    """Write the model, and say how it is used."""
    model = training.save_model()
    if model is not None:
        typer.echo(f"use it: upseg segment PHOTO --model {shlex.quote(str(model))}")


def _configuration_of(output: Path) -> Path:
    from upseg.training.cli import CONFIGURATION

    if not (output / CONFIGURATION).is_file():
        raise UpsegError(f"there is no training to resume in {output}")
    return output / CONFIGURATION
