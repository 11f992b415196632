"""From a recipe to a trained method: LightningCLI with our options, strict.

A recipe is a YAML file; every key is checked, and an unknown one is an error. Short, it looks like this:

    # Nuclei in microscopy, from scratch. (What `upseg train --list` says: up to the first full stop.)
    seed_everything: 0                     # of weights, the order of the data and all transforms
    model:
      class_path: upseg.methods.entity.task.EntityTask
      init_args: {learning_rate: 1.0e-4}
    data:
      class_path: upseg.training.data.MixedDataModule
      init_args:
        train:
          - dataset:
              class_path: upseg.data.sources.open_dataset     # any data set by name ...
              init_args: {source: folder, path: "${data_root}", split: train}
              dict_kwargs: {annotations: labels}              # ... and its own options
            weight: 2.0
          - dataset:
              class_path: upseg.data.shapes.ShapeScenes       # ... or a reader's class
              init_args: {length: 1000, size: [128, 128]}
        validation:
          - class_path: upseg.data.sources.open_dataset
            init_args: {source: folder, path: "${data_root}", split: val}
        transform: {class_path: upseg.data.transforms.Augmentation, init_args: {size: [128, 128]}}
        targets: {class_path: upseg.methods.entity.targets.EntityTargets}
        batch_size: 16
    trainer: {max_epochs: 60, precision: bf16-mixed}          # all that Lightning's Trainer takes
    checkpoint: {monitor: val/recall, mode: max}              # what best.ckpt is the best in
    pictures: {count: 4}                                      # batches drawn at each validation
    minutes: 10                                               # of wall clock, or the epochs if they end first

A recipe names only code of upseg, torch.optim, and Lightning's callbacks and loggers, unless `trust` says otherwise.
`${data_root}` is the place of the data, `--data_root FOLDER`; `${...}` takes over any other value as well. The seed of
the data is `seed_everything`. A method whose LightningModule has no `configure_optimizers` takes the section
`optimization` (`upseg.training.schedules.Optimization`); where it is given it wins over the method's own.
"""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

from jsonargparse import ArgumentError
from lightning import LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from upseg.data.mixing import MixedSamples
from upseg.errors import UpsegError
from upseg.files import write_text
from upseg.models.checkpoints import read_checkpoint
from upseg.models.folders import MODEL_OF_RUN
from upseg.segmentation import Category
from upseg.training.callbacks import LearningRates, SeededEpochs, ValidationPictures
from upseg.training.checkpoints import BEST, LAST, KeepCheckpoints, SafeCheckpointIO, read_training_state
from upseg.training.old_names import arguments_of_today
from upseg.training.parameter_groups import table_of_groups
from upseg.training.problems import check_configurations, one_line
from upseg.training.progress import Progress
from upseg.training.schedules import Optimization
from upseg.training.tables import MetricsTable, TensorBoard, is_first_process
from upseg.training.task import Task
from upseg.training.time_limit import TimeLimit
from upseg.training.trust import only_allowed

CONFIGURATION = "config.yaml"
# what wrong values lead to; anything else is a bug, whose trace is wanted
_MISTAKES = (ValueError, MisconfigurationException, OmegaConfBaseException)
_CAUSES = (*_MISTAKES, UpsegError, OSError, ImportError)


class SaveConfiguration(SaveConfigCallback):
    """Writes the resolved configuration into the run's folder: every value, `${...}` replaced."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Write it; Lightning calls this in the first process alone."""
        write_text(Path(trainer.default_root_dir) / CONFIGURATION, self.parser.dump(self.config, skip_unset=False))


class Training(LightningCLI):
    """One training, read from configurations and options and ready to `run`.

    Args:
        configurations: YAML files; what a later one says wins.
        options: Such as `["--trainer.max_epochs", "3"]`; they win over the files.
        output: The run's folder where neither says one.
        resume: Whether to go on from the last checkpoint in the run's folder.
        trust: Whether configurations and options may name any code, not only what `upseg.training.trust` allows.
        began: From when on minutes count, by `time.monotonic`; None for now.

    Raises:
        UpsegError: If anything about the configuration is wrong, or the run's folder holds another run.
    """

    def __init__(
        self,
        configurations: Sequence[Path],
        options: Sequence[str],
        *,
        output: Path,
        resume: bool = False,
        trust: bool = False,
        began: float | None = None,
    ) -> None:
        self.began = time.monotonic() if began is None else began
        self.configurations = configurations
        self.output = output
        self.resume = resume
        _quieten()
        check_configurations(configurations, options, trust=trust)
        arguments = arguments_of_today(configurations, options)
        with self._one_line_errors(), only_allowed(trust=trust):
            super().__init__(
                args=arguments,
                run=False,
                trainer_defaults={"log_every_n_steps": 10},
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                save_config_callback=SaveConfiguration,
                save_config_kwargs={"save_to_log_dir": False},
                parser_kwargs={"parser_mode": "omegaconf+", "exit_on_error": False, "allow_abbrev": False},
            )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed: a number and nothing else, so that every training can be repeated."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Of weights, order of data, transforms.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What we add to LightningCLI."""
        parser.add_argument("--data_root", type=str | None, default=None, help="Folder that a recipe calls data_root.")
        parser.add_argument("--output", type=str, default=str(self.output), help="The run's folder.")
        parser.add_argument("--minutes", type=float | None, default=None, help="The most that the training takes.")
        parser.add_argument("--optimization", type=Optimization | None, default=None, help="Optimiser and schedule.")
        parser.add_lightning_class_args(KeepCheckpoints, "checkpoint")
        parser.add_lightning_class_args(ValidationPictures, "pictures")
        parser.link_arguments("seed_everything", "data.init_args.seed")
        # the classes are those of the data; methods without classes do not have the argument, and are left alone
        parser.link_arguments("data", "model.init_args.categories", _categories, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read configurations and options into one configuration."""
        self.config = parser.parse_args(args)
        if self.config.data is None:
            raise UpsegError("data must be given: a class_path such as upseg.training.data.MixedDataModule")
        self.output = Path(self.config.output).expanduser()

    def before_instantiate_classes(self) -> None:
        """Look whether the run's folder is free, or holds what is to be resumed."""
        checkpoint = self.output / "checkpoints" / LAST
        found = [path for path in (self.output / CONFIGURATION, checkpoint) if path.exists()]
        if self.resume and not found:
            raise UpsegError(f"there is no training to resume in {self.output}")
        # other processes of the same training may come when the first has begun to write
        if not self.resume and found and is_first_process():
            raise UpsegError(
                f"{self.output} holds a training already; "
                "continue it with --resume, or name another folder with --output"
            )
        self.checkpoint = checkpoint if self.resume and checkpoint.exists() else None
        self.resumed = _position(self.checkpoint) if self.checkpoint else None

    def instantiate_classes(self) -> None:
        """Make the data, the model and the trainer."""
        # Lightning's own version of this calls what jsonargparse 5 no longer has
        self.config_init = self.parser.instantiate(self.config)
        self.datamodule, self.model = self.config_init.data, self.config_init.model
        self.trainer = self.instantiate_trainer()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with what every run has: loggers, checkpoints, pictures, progress."""
        given = self.config_init.trainer
        callbacks = [SeededEpochs(self.config.seed_everything), LearningRates()]
        # before all others, so that the time that they take is measured
        limits = [] if self.config.minutes is None else [TimeLimit(float(self.config.minutes), self.began)]
        shown = Progress(False if given.enable_progress_bar is False else None)
        kwargs |= {
            "default_root_dir": self.output,
            "logger": self._loggers(given.logger),
            "plugins": [*_listed(given.plugins), SafeCheckpointIO()],
            "callbacks": [*limits, *_listed(given.callbacks), *callbacks, shown],
            "enable_progress_bar": False,
            "enable_model_summary": bool(given.enable_model_summary),
        }
        try:
            return super().instantiate_trainer(**kwargs)
        except (TypeError, ModuleNotFoundError) as error:
            raise UpsegError(f"trainer: {one_line(str(error))}") from error

    def after_instantiate_classes(self) -> None:
        """Give the model its optimiser, and the trainer the number of batches in a step."""
        self._gather_batches()
        optimization = self.config_init.optimization
        if optimization is not None:
            optimization.groups(self.model)  # an error that the model cannot have these comes now, not later
            self.model.configure_optimizers = MethodType(optimization.configure, self.model)
        elif not is_overridden("configure_optimizers", self.model):
            raise UpsegError("the model has no optimiser of its own: the section optimization must be given")

    def _gather_batches(self) -> None:
        """Reach the recipe's effective batch on the devices that there are."""
        count = getattr(self.datamodule, "batches_per_step", lambda _: None)(self.trainer.world_size)
        if count is None:
            return
        if self.trainer.accumulate_grad_batches not in (1, count):
            raise UpsegError(
                f"data.effective_batch asks for {count} batches in a step, trainer.accumulate_grad_batches for "
                f"{self.trainer.accumulate_grad_batches}; leave one of them out"
            )
        self.trainer.accumulate_grad_batches = count

    def run(self) -> None:
        """Train.

        Raises:
            KeyboardInterrupt: If the user stopped it. What the last checkpoint holds is kept.
            UpsegError: If the data is not as it should be, or not one step was made.
        """
        self._announce()
        try:
            self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=self.checkpoint)
        except SystemExit:
            if self.trainer.interrupted:  # Lightning has cleaned up after Ctrl-C, and ends the process
                raise KeyboardInterrupt from None
            raise
        except UpsegError as error:
            raise UpsegError(f"the training stopped: {_last_line(str(error))}") from error
        if self.trainer.global_step == 0:
            raise UpsegError(
                "the training made no step, so nothing was learned; look at trainer.max_epochs, max_steps and "
                "limit_train_batches, and at the number of images"
            )

    def save_model(self) -> Path | None:
        """Write what was learned as a model folder into the run's folder, from the best checkpoint, or else the last.

        Returns:
            What `--model` is to be given; None if there is nothing yet, or the model is none of upseg's methods.
        """
        found = [path for path in (self.output / "checkpoints" / name for name in (BEST, LAST)) if path.exists()]
        if not found or not isinstance(self.model, Task):
            return None
        read_checkpoint(found[0]).save_pretrained(self.output / MODEL_OF_RUN)
        return self.output

    def _announce(self) -> None:
        """Say what is trained, where, and how fast each layer learns."""
        if not is_first_process():
            return
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        devices = f"{self.trainer.world_size} x {self.trainer.strategy.root_device.type}"
        console = Console()
        console.print(
            f"{type(self.model).__name__}, {trained:,} parameters to train, {devices}, "
            f"precision {self.trainer.precision} -> {self.output}",
            highlight=False,
        )
        samples = getattr(self.datamodule, "samples", None)
        if isinstance(samples, MixedSamples):
            for line in samples.repeated():
                console.print(f"note: {line}", highlight=False)
        if self.resume:
            state = (
                "from the beginning: there is no checkpoint yet" if self.resumed is None else "from the last checkpoint"
            )
            console.print(f"goes on {state}")
        optimization = self.config_init.optimization
        if optimization is not None and optimization.layer_decay is not None:
            console.print(table_of_groups(optimization.groups(self.model), optimization.learning_rate))

    def _loggers(self, given: Any) -> list[Logger]:
        """TensorBoard, or what the configuration has instead, and the table of all numbers."""
        epoch, step = self.resumed or (0, None)
        own = [TensorBoard(self.output, step)] if given in (None, True) else _listed(given or None)
        return [*own, MetricsTable(self.output / "metrics.csv", epoch)]

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except ArgumentError as error:
            names = {"model", "data", *self.parser.get_defaults().keys()}
            raise UpsegError(one_line(str(error), sorted(names))) from error
        except _MISTAKES as error:
            cause: BaseException = error
            # jsonargparse makes a ValueError of whatever a constructor raises; what an error of ours is caused by is
            # told by ours
            while cause.__cause__ is not None and not isinstance(cause, UpsegError):
                cause = cause.__cause__
            if not isinstance(cause, _CAUSES):
                raise
            raise UpsegError(one_line(str(error))) from error


def _last_line(message: str) -> str:
    """What went wrong, without the traceback that a worker of a loader sends with it."""
    kept = [line for line in message.splitlines() if line.strip()]
    return re.sub(r"^upseg\.errors\.\w+: ", "", kept[-1]) if message.startswith("Caught ") else " ".join(kept)


def _categories(data: Any) -> tuple[Category, ...]:
    """The classes that a data module learns from; none where it does not say."""
    return tuple(getattr(data, "categories", ()))


def _quieten() -> None:
    """Keep to ourselves what Lightning says about itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", category=FutureWarning)
    for text in (
        ".*does not have many workers",
        ".*is smaller than the logging interval",
        ".*training_step. returned .None.",  # a batch that makes no step
    ):
        warnings.filterwarnings("ignore", message=text, module="lightning")


def _position(checkpoint: Path) -> tuple[int, int]:
    """The epoch and the step with which a training goes on from a checkpoint."""
    state = read_training_state(checkpoint)
    return state["epoch"] + 1, state["global_step"]


def _listed(value: Any) -> list[Any]:
    """Lightning takes none, one, or a list."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
