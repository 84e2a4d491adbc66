"""A right study file, and what is wrong with it once a piece is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from aar_ray.config import Study
from aar_ray.study_file.loader import StudyFileError, load_study

BASE = """\
name: herd
seed: 3
data:
  unlabelled:
    - {name: cows, reader: simulated, species: cattle, animals: 3, minutes_per_animal: 2.0}
    - name: sheep
      reader: csv
      path: sheep/*.csv
      species: sheep
      rate_hz: 12.5
      unit: mg
  labelled: {name: goats, reader: simulated, species: goat, animals: 5, minutes_per_animal: 2.0}
fixed:
  patchtst.model_size: 64
  tfc.temperature: 0.2
search:
  tfc.margin: {uniform: [0.05, 1.0]}
  patchtst.patch_length: {integer: [4, 16]}
  patchtst.patch_stride: {integer: [2, 16]}
  finetune.learning_rate: {log_uniform: [3e-5, 3e-3]}
  finetune.encoder: {choice: [trained, frozen]}
require:
  - patchtst.patch_stride <= patchtst.patch_length
budget:
  trials: 4
"""

GOATS = "labelled: {name: goats, reader: simulated, species: goat, animals: 5, minutes_per_animal: 2.0}"
GOAT_FILES = "labelled: {name: goats, reader: csv, path: g.csv, species: goat, rate_hz: 100, unit: g}"
MARGIN = "tfc.margin: {uniform: [0.05, 1.0]}"
ENCODER = "finetune.encoder: {choice: [trained, frozen]}"
STRIDE_LE_LENGTH = "patchtst.patch_stride <= patchtst.patch_length"

RATE = "finetune.learning_rate: {log_uniform: [3e-5, 3e-3]}"


def _when(entry: str, condition: str) -> tuple[str, str]:
    """An entry of `search`, and the same with a condition."""
    return entry, f"{entry[:-1]}, when: {{{condition}}}}}"


def _enqueued(entries: str) -> tuple[str, str]:
    """The end of BASE, and the same with settings enqueued."""
    return "trials: 4\n", f"trials: 4\nenqueue: {entries}\n"


# What is replaced in BASE, by what (¦ marks where the error is to point), and what is said.
WRONG = [
    # names and values that the schema refuses
    ("seed: 3", "¦sede: 3", "sede: unknown name; did you mean seed?"),
    ("seed: 3", "seed: ¦-1", "seed: must be at least 0, got -1"),
    ("seed: 3", "seed: ¦1e5", "seed: must be a whole number, got 100000.0; write 100000"),
    ("seed: 3", "seed: ¦'7'", "seed: must be a whole number, got '7'; write 7"),
    ("seed: 3", "seed: ¦true", "seed: must be a whole number, got true"),
    ("seed: 3", "seed: ¦99999999999999999999", "seed: must be a number below 2^63, got 99999999999999999999"),
    ("name: herd\n", "¦", "name: must be given"),
    ("name: herd", "name: ¦12", "name: must be text, got 12; put it in quotes"),
    ("name: herd", "name: ¦..", "name: must begin with a letter or digit and hold only"),
    ("trials: 4", "trials: ¦0", "budget.trials: must be at least 1, got 0"),
    ("trials: 4", "trials: ¦four", "budget.trials: must be a whole number, got 'four'"),
    ("trials: 4", "¦trials:4", "budget: must be a mapping of names to values, got 'trials:4'; a colon needs a space"),
    ("trials: 4", "trials: 4\n  hours: ¦.nan", "budget.hours: must be finite, got .nan"),
    ("trials: 4", "trials: 4\n  hours: ¦0,5", "budget.hours: must be a number, got '0,5'; write 0.5"),
    ("trials: 4", "trials: 4\n  ¦hour: 1", "budget.hour: unknown name; did you mean hours?"),
    ("budget:\n  trials: 4", "budget: ¦[4]", "budget: must be a mapping of names to values, got [4]"),
    ("budget:", "protocol: {sealed: ¦goat1}\nbudget:", "protocol.sealed: must be a list, got 'goat1'; write [goat1]"),
    ("budget:", "protocol: ¦{split: paper, sealed: [a]}\nbudget:", "protocol: sealed must be empty under split: paper"),
    ("budget:", "protocol: {transductive: ¦yes}\nbudget:", "protocol.transductive: must be true or false, got 'yes'"),
    ("budget:", "resources: {pretrain: {¦worker: 2}}\nbudget:", "resources.pretrain.worker: unknown name; did you mea"),
    ("budget:", "sampler: {name: ¦TPE}\nbudget:", "sampler.name: must be 'stage_aware', 'tpe', 'random', 'grid', "),
    ("budget:", "¦tfc: {margin: 1}\nbudget:", "tfc: unknown name; a setting belongs under fixed or search"),
    # sources
    (
        "unit: mg",
        "unit: ¦mG",
        "data.unlabelled.1.unit: must be 'g', 'mg', 'm/s^2' or 'counts', got 'mG'; did you mean mg?",
    ),
    ("- name: sheep\n      reader: csv", "- ¦name: sheep", "data.unlabelled.1.reader: must be given"),
    ("reader: csv", "reader: ¦cvs", "data.unlabelled.1.reader: must be simulated, csv, parquet, goats, horses, cattle"),
    ("rate_hz: 12.5", "rate_hz: ¦-12.5", "data.unlabelled.1.rate_hz: must be above 0, got -12.5"),
    ("animals: 3", "animals: ¦3.0", "data.unlabelled.0.animals: must be a whole number, got 3.0; write 3"),
    (
        "animals: 3",
        "animals: 3, ¦unit: g",
        "data.unlabelled.0.unit: unknown name; known here are name, behaviours, herd, re",
    ),
    ("unlabelled:\n    - {name: cows", "¦unlabelled:\n    - {name: goats", "data: source names must differ, got goats"),
    (GOATS, f"¦{GOAT_FILES}", "data.labelled.columns.label: must name the column that holds the behaviours"),
    ("unit: mg", "unit: mg\n      behaviours: {¦1: eat}", "data.unlabelled.1.behaviours.1: names must be text, got 1"),
    # fixed settings
    ("tfc.temperature: 0.2", "¦tfc.temprature: 0.2", "fixed.tfc.temprature: unknown setting; did you mean tfc.temper"),
    ("tfc.temperature: 0.2", "¦temperature: 0.2", "fixed.temperature: unknown setting; did you mean tfc.temperature?"),
    ("tfc.temperature: 0.2", "¦pretrain.anchors: both", "fixed.pretrain.anchors: unknown setting; did you mean tfc.an"),
    ("tfc.temperature: 0.2", "¦learning_rate: 1", "fixed.learning_rate: unknown setting; did you mean pretrain.learni"),
    ("tfc.temperature: 0.2", "¦tfc.lambda: 0.2", "fixed.tfc.lambda: unknown setting; did you mean tfc.contrastive_wei"),
    ("tfc.temperature: 0.2", "¦tfc: {temperature: 0.2}", "fixed.tfc: a section is not a setting; write tfc.temperatur"),
    ("tfc.temperature: 0.2", "tfc.temperature: ¦0", "fixed.tfc.temperature: must be above 0, got 0"),
    ("tfc.temperature: 0.2", "tfc.temperature: ¦.inf", "fixed.tfc.temperature: must be finite, got .inf"),
    ("tfc.temperature: 0.2", "tfc.temperature: ¦'1e-4'", "fixed.tfc.temperature: must be a number, got '1e-4'; write"),
    ("tfc.temperature: 0.2", "tfc.temperature: ¦{uniform: [0.1, 1]}", "fixed.tfc.temperature: must be a number, got {"),
    ("tfc.temperature: 0.2", "augment.time_families: ¦[jiter]", "fixed.augment.time_families: time_families must name"),
    ("patchtst.model_size: 64", "¦patchtst.heads: 3", "fixed.patchtst.heads: patchtst.heads must divide patchtst.mode"),
    ("patchtst.model_size: 64", "¦patchtst.model_size: 60", "fixed.patchtst.model_size: patchtst.heads must divide"),
    # distributions
    ("tfc.margin:", "¦tfc.marign:", "search.tfc.marign: unknown setting; did you mean tfc.margin?"),
    (MARGIN, "tfc.margin: {¦unifrom: [0.05, 1]}", "search.tfc.margin.unifrom: must be one of uniform, log_uniform, in"),
    (
        MARGIN,
        "tfc.margin: ¦[0.05, 1.0]",
        "search.tfc.margin: must be one of uniform, log_uniform, integer, choice or fi",
    ),
    (MARGIN, "tfc.margin: ¦{uniform: [1, 2], integer: [1, 2]}", "search.tfc.margin: must be one of uniform, log_unifo"),
    (MARGIN, "tfc.margin: {uniform: ¦0.5}", "search.tfc.margin.uniform: must be two numbers [low, high], got 0.5"),
    (MARGIN, "tfc.margin: {uniform: [¦0, 1.0]}", "search.tfc.margin.uniform.0: must be above 0, got 0"),
    (MARGIN, "tfc.margin: {uniform: [0.05, ¦.nan]}", "search.tfc.margin.uniform.1: must be finite, got .nan"),
    (MARGIN, "tfc.margin: {uniform: ¦[1.0, 1.0]}", "search.tfc.margin.uniform: low must be below high, got 1 and 1"),
    (MARGIN, "tfc.margin: {uniform: ¦[1.0, 0.05]}", "search.tfc.margin.uniform: low must be below high, got 1 and 0.0"),
    (MARGIN, "tfc.margin: {uniform: [0.5, 1.0], step: ¦2}", "search.tfc.margin.step: step must be at most high - low"),
    (MARGIN, "tfc.margin: {uniform: [0.5, 1.0], step: ¦0.24}", "search.tfc.margin.step: step must divide high - low ="),
    (MARGIN, "tfc.margin: {log_uniform: [0.5, 1], ¦step: 0.1}", "search.tfc.margin.step: log_uniform takes no step"),
    (MARGIN, "tfc.margin: {choice: ¦[0.5]}", "search.tfc.margin.choice: must list two values or more, got [0.5]; one"),
    (MARGIN, "tfc.margin: {choice: [0.5, 0.7, ¦0.5]}", "search.tfc.margin.choice.2: must be listed once, got 0.5 agai"),
    (MARGIN, "tfc.margin: {choice: [0.5, ¦-1]}", "search.tfc.margin.choice.1: must be above 0, got -1"),
    (MARGIN, "finetune.weight_decay: {log_uniform: [¦0, 1]}", "search.finetune.weight_decay.log_uniform.0: low must b"),
    ("{integer: [4, 16]}", "{¦uniform: [4, 16]}", "search.patchtst.patch_length.uniform: patchtst.patch_length takes"),
    ("{integer: [4, 16]}", "{integer: [¦4.5, 16]}", "search.patchtst.patch_length.integer.0: must be a whole number,"),
    ("[trained, frozen]", "[trained, ¦froozen]", "search.finetune.encoder.choice.1: must be 'trained' or 'frozen', go"),
    ("{choice: [trained, frozen]}", "{¦uniform: [0, 1]}", "search.finetune.encoder.uniform: finetune.encoder takes no"),
    (
        MARGIN,
        "tfc.margin: {¦fix: 0.5}",
        "search.tfc.margin.fix: must be one of uniform, log_uniform, integer, choice or f",
    ),
    (MARGIN, "tfc.margin: {fixed: ¦-1}", "search.tfc.margin.fixed: must be above 0, got -1"),
    (MARGIN, "tfc.margin: {fixed: ¦[0.5, 1]}", "search.tfc.margin.fixed: must be a number, got [0.5, 1]"),
    (MARGIN, "tfc.margin: {fixed: 0.5, ¦step: 1}", "search.tfc.margin.step: fixed takes no step"),
    (
        MARGIN,
        "tfc.margin: ¦{fixed: 0.5, choice: [1, 2]}",
        "search.tfc.margin: must be one of uniform, log_uniform, int",
    ),
    # conditions
    (MARGIN, "tfc.margin: {uniform: [0.05, 1], ¦wen: {}}", "search.tfc.margin.wen: unknown name; did you mean when?"),
    (MARGIN, "tfc.margin: {uniform: [0.05, 1], when: ¦{}}", "search.tfc.margin.when: must hold at least 1, got {}"),
    (
        MARGIN,
        "tfc.margin: {uniform: [0.05, 1], when: ¦x}",
        "search.tfc.margin.when: must be a mapping of names to values",
    ),
    (
        *_when(MARGIN, "¦tfc.temprature: 1"),
        "search.tfc.margin.when.tfc.temprature: unknown setting; did you mean tfc.te",
    ),
    (*_when(MARGIN, "¦tfc.margin: 1"), "search.tfc.margin.when.tfc.margin: must name another setting than tfc.margin"),
    (
        *_when(MARGIN, "¦tfc.distance: cosine"),
        "search.tfc.margin.when.tfc.distance: must name a setting that is searche",
    ),
    (
        *_when(MARGIN, "¦finetune.encoder: frozen"),
        "search.tfc.margin.when.finetune.encoder: must name a setting of pre",
    ),
    (
        *_when(ENCODER, "¦tfc.margin: 0.5"),
        "search.finetune.encoder.when.tfc.margin: must name a choice, an integer or a",
    ),
    (
        *_when(MARGIN, "tfc.temperature: ¦0.3"),
        "search.tfc.margin.when.tfc.temperature: must be a value that tfc.tempera",
    ),
    (
        *_when(MARGIN, "patchtst.patch_length: ¦17"),
        "search.tfc.margin.when.patchtst.patch_length: must be a value that ",
    ),
    (
        *_when(MARGIN, "patchtst.patch_length: [8, ¦17]"),
        "search.tfc.margin.when.patchtst.patch_length.1: must be a valu",
    ),
    (
        *_when(MARGIN, "patchtst.patch_length: ¦[]"),
        "search.tfc.margin.when.patchtst.patch_length: must list at least one",
    ),
    (
        *_when(RATE, "finetune.encoder: ¦froze"),
        "search.finetune.learning_rate.when.finetune.encoder: must be a value that f",
    ),
    (
        *_when(RATE, "finetune.encoder: [frozen, ¦trainde]"),
        "search.finetune.learning_rate.when.finetune.encoder.1: must be ",
    ),
    (
        *_when(RATE, "finetune.encoder: ¦true"),
        "search.finetune.learning_rate.when.finetune.encoder: must be a value that fi",
    ),
    (
        f"{RATE}\n  {ENCODER}",
        "finetune.optimiser: {choice: [adam, adamw], when: {¦finetune.encoder: frozen}}\n  "
        "finetune.encoder: {choice: [trained, frozen], when: {finetune.optimiser: adam}}",
        "search.finetune.optimiser.when.finetune.encoder: goes round in a circle: finetune.optimiser depends ",
    ),
    (
        f"{{integer: [2, 16]}}\n  {RATE}\n  {ENCODER}\nrequire:\n  - {STRIDE_LE_LENGTH}",
        f"{{integer: [2, 16], when: {{patchtst.layers: 2}}}}\n  patchtst.layers: {{choice: [1, 2]}}\nrequire:\n"
        f"  - ¦{STRIDE_LE_LENGTH}",
        "require.0: orders settings that always vary, and patchtst.patch_stride has a `when`",
    ),
    (
        ENCODER,
        "finetune.class_weights: {choice: [effective_number, none]}\n  ¦finetune.class_balance_beta: "
        "{choice: [0.9, 0.99], when: {finetune.class_weights: none}}",
        "search.finetune.class_balance_beta: searching it changes nothing: finetune.class_weights is never effe",
    ),
    # samplers
    (
        "budget:",
        "sampler: {name: ¦[tpe]}\nbudget:",
        "sampler.name: must be 'stage_aware', 'tpe', 'random', 'grid',",
    ),
    (
        "budget:",
        "sampler: {objectives: ¦seconds}\nbudget:",
        "sampler.objectives: must be a list, got 'seconds'; write [s",
    ),
    (
        "budget:",
        "sampler: {objectives: [macro_f1, ¦second]}\nbudget:",
        "sampler.objectives.1: must be 'macro_f1' or 'sec",
    ),
    (
        "budget:",
        "sampler: ¦{objectives: [seconds]}\nbudget:",
        "sampler: objectives must hold macro_f1, and each once, go",
    ),
    (
        "budget:",
        "sampler: ¦{objectives: []}\nbudget:",
        "sampler: objectives must hold macro_f1, and each once, got none",
    ),
    (
        "budget:",
        "sampler: ¦{name: cma-es, objectives: [macro_f1, seconds]}\nbudget:",
        "sampler: objectives must be macro_",
    ),
    (
        "budget:",
        "sampler: ¦{name: tpe, first_folds: 2}\nbudget:",
        "sampler: first_folds goes with name: stage_aware, go",
    ),
    (
        "budget:",
        "sampler: ¦{name: gp, first_epochs: 2}\nbudget:",
        "sampler: first_epochs goes with name: stage_aware, ",
    ),
    ("budget:", "sampler: {first_folds: ¦0}\nbudget:", "sampler.first_folds: must be at least 1, got 0"),
    (
        "budget:",
        "sampler: {first_epochs: ¦90}\nbudget:",
        "sampler.first_epochs: must be below pretrain.epochs, got 90 ",
    ),
    ("budget:", "sampler: ¦{grid_points: 5}\nbudget:", "sampler: grid_points goes with name: grid, got name: st"),
    ("budget:", "sampler: {name: grid, grid_points: ¦1}\nbudget:", "sampler.grid_points: must be at least 2, got 1"),
    (
        "budget:",
        "sampler: {name: ¦grid, grid_points: 40}\nbudget:",
        "sampler.name: a grid of 624000 points is too large",
    ),
    (
        BASE[BASE.index("search:") :],
        f"sampler: {{name: ¦cma-es}}\nsearch: {{{MARGIN}}}\nbudget: {{trials: 4}}\n",
        "sampler.name: cma-es needs two searched settings or more, got tfc.margin alone; use tpe or gp",
    ),
    # known settings, earlier studies, and when to stop
    (*_enqueued("¦{tfc.margin: 0.4}"), "enqueue: must be a list, got {'tfc.margin': 0.4}"),
    (*_enqueued("[¦0.4]"), "enqueue.0: must be a mapping of names to values, got 0.4"),
    (*_enqueued("[{¦tfc.marign: 0.4}]"), "enqueue.0.tfc.marign: unknown setting; did you mean tfc.margin?"),
    (*_enqueued("[{tfc.margin: ¦0}]"), "enqueue.0.tfc.margin: must be above 0, got 0"),
    (*_enqueued("[{tfc.margin: ¦{uniform: [0, 1]}}]"), "enqueue.0.tfc.margin: must be a number, got {'uniform'"),
    (*_enqueued("[{tfc.margin: ¦2.0}]"), "enqueue.0.tfc.margin: must be searched, from 0.05 to 1, got 2.0; widen the "),
    (
        *_enqueued("[{patchtst.patch_length: ¦17}]"),
        "enqueue.0.patchtst.patch_length: must be searched, from 4 to 16, g",
    ),
    (
        *_enqueued("[{finetune.encoder: ¦froze}]"),
        "enqueue.0.finetune.encoder: must be 'trained' or 'frozen', got 'froze",
    ),
    (*_enqueued("[{¦tfc.temperature: 0.2}]"), "enqueue.0.tfc.temperature: must be a searched setting, and this one is"),
    (
        *_enqueued("[{¦tfc.distance: cosine}]"),
        "enqueue.0.tfc.distance: must be a searched setting, and this one is not",
    ),
    (*_enqueued("[¦{}]"), "enqueue.0: must differ from every other, has the settings of trial 0"),
    (*_enqueued("[¦{tfc.margin: 0.5}]"), "enqueue.0: must differ from every other, has the settings of trial 0"),
    (
        *_enqueued("[{tfc.margin: 1}, ¦{tfc.margin: 1.0}]"),
        "enqueue.1: must differ from every other, has the settings o",
    ),
    (
        *_enqueued("[¦{patchtst.patch_length: 4, patchtst.patch_stride: 5}]"),
        "enqueue.0: must keep patchtst.patch_strid",
    ),
    (*_enqueued("[¦{patchtst.patch_stride: 9}]"), "enqueue.0: must keep patchtst.patch_stride <= patchtst.patch_lengt"),
    (
        "trials: 4",
        "trials: ¦2\nenqueue: [{tfc.margin: 0.4}, {tfc.margin: 0.3}]",
        "budget.trials: must be at least 3, for trial 0 and what is enqueued, got 2",
    ),
    (
        BASE[BASE.index("  finetune.encoder:") :],
        "  finetune.encoder: {choice: [trained, frozen]}\n  finetune.dropout: {uniform: [0, 0.4], when: "
        "{finetune.encoder: frozen}}\nrequire: [patchtst.patch_stride <= patchtst.patch_length]\nbudget: {trials: 4}\n"
        "enqueue: [{¦finetune.dropout: 0.3}]\n",
        "enqueue.0.finetune.dropout: has no effect here, where finetune.encoder is 'trained'; leave it out",
    ),
    ("budget:", "warm_start: ¦last_year\nbudget:", "warm_start: must be a list, got 'last_year'; write [last_year]"),
    ("budget:", "warm_start: [¦7]\nbudget:", "warm_start.0: must be text, got 7; put it in quotes"),
    (
        "budget:",
        "sampler: {name: random}\n¦warm_start: [a]\nbudget:",
        "warm_start: goes with a sampler that can be told of other studies, stage_aware, tpe, gp",
    ),
    (
        "budget:",
        "sampler: {name: qmc}\n¦warm_start: [a]\nbudget:",
        "warm_start: goes with a sampler that can be told o",
    ),
    ("trials: 4", "trials: 4\n  patience: ¦2", "budget.patience: must be at least 3, got 2"),
    ("trials: 4", "trials: 4\n  patience: 5\n  least_gain: ¦0", "budget.least_gain: must be above 0, got 0"),
    (
        "budget:\n  trials: 4",
        "budget: ¦{trials: 4, least_gain: 0.1}",
        "budget: least_gain goes with patience, the numb",
    ),
    # settings that cannot work together
    ("tfc.temperature: 0.2\nsearch:\n  tfc.margin", "tfc.margin: 1\nsearch:\n  ¦tfc.margin", "search.tfc.margin: must"),
    ("patchtst.patch_length: {integer: [4, 16]}", "¦patchtst.patch_length: {integer: [4, 27]}", "search.patchtst.patc"),
    (ENCODER, "¦patchtst.heads: {integer: [2, 4]}", "search.patchtst.heads: patchtst.heads must divide patchtst.model"),
    # searches in vain
    (f"tfc.temperature: 0.2\nsearch:\n  {MARGIN}", f"tfc.margin_form: linear\nsearch:\n  ¦{MARGIN}", "search.tfc.marg"),
    (f"tfc.temperature: 0.2\nsearch:\n  {MARGIN}", f"tfc.contrastive_weight: 1\nsearch:\n  ¦{MARGIN}", "search.tfc.ma"),
    (MARGIN, "¦tfc.margin: {uniform: [3, 5]}", "search.tfc.margin: searching it changes nothing: tfc.margin is 2 or m"),
    (ENCODER, "¦tfc.negatives: {choice: [global, local]}", "search.tfc.negatives: searching it changes nothing: resou"),
    (ENCODER, "¦augment.rotation_degrees: {uniform: [5, 45]}", "search.augment.rotation_degrees: searching it changes"),
    (ENCODER, "¦classifier.fused_size: {integer: [8, 64]}", "search.classifier.fused_size: searching it changes nothi"),
    (ENCODER, "¦finetune.patience: {integer: [100, 200]}", "search.finetune.patience: searching it changes nothing"),
    # constraints
    (STRIDE_LE_LENGTH, "¦patchtst.patch_length >= patchtst.patch_stride", "require.0: must read `smaller <= larger`"),
    (STRIDE_LE_LENGTH, "¦patchtst.patch_stride <= patchtst.patch_lenght", "require.0: unknown setting patchtst.patch_"),
    (STRIDE_LE_LENGTH, "¦patchtst.patch_stride <= 8", "require.0: orders two searched settings, and 8 is a number; en"),
    ("require:\n", "require:\n  - ¦tfc.margin <= tfc.temperature\n", "require.0: orders two searched settings, and tf"),
    ("require:\n", "require:\n  - ¦patchtst.heads <= patchtst.layers\n", "require.0: neither patchtst.heads nor"),
    ("require:\n", "require:\n  - ¦finetune.encoder <= tfc.margin\n", "require.0: orders numbers, and finetune.encode"),
    ("require:\n", "require:\n  - ¦patchtst.patch_length <= tfc.margin\n", "require.0: can never hold: patchtst.patch"),
    (f"- {STRIDE_LE_LENGTH}", f"- {STRIDE_LE_LENGTH}\n  - ¦patchtst.patch_length <= patchtst.patch_stride", "require."),
    # text that is no YAML, or more than a study needs of it
    ("seed: 3", "seed: 3\n¦seed: 4", "seed: must be given once, was already given in line 2"),
    ("seed: 3", "¦\tseed: 3", "must be valid YAML: found character '\\t' that cannot start any token; indent with spa"),
    ("seed: 3", "seed: 3¦: 4", "must be valid YAML: mapping values are not allowed here; check the indentation"),
    ("seed: 3", "seed: ¦*x", "must be valid YAML: found undefined alias 'x'"),
    ("seed: 3", "seed: ¦@3", "must be valid YAML: found character '@' that cannot start any token; put the text in qu"),
    ("seed: 3", "seed: ¦\a", "must be valid YAML: unacceptable character #x0007"),
    ("seed: 3", "¦3: seed", "3: names must be text, got 3; put it in quotes"),
    ("seed: 3", "seed: ¦!!binary x", "seed: must be plain text or a number without a tag, got binary"),
    ("seed: 3", "seed: ¦&loop [*loop]", "seed: must be nested at most 20 deep"),
    ("budget:", "¦---\nbudget:", "must be valid YAML: expected a single document in the stream, but found another doc"),
]


def changed(*replacements: tuple[str, str]) -> str:
    """BASE with pieces replaced, each of which it holds once."""
    text = BASE
    for old, new in replacements:
        assert text.count(old) == 1, f"{old!r} is in the text {text.count(old)} times"
        text = text.replace(old, new)
    return text


def problems_of(path: Path, text: str | bytes, *overrides: str) -> list[str]:
    """What is wrong with a study file of this text, without the file's name."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(StudyFileError) as caught:
        load_study(path, overrides)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def loaded(path: Path, text: str, *overrides: str) -> Study:
    """The study that a file of this text describes."""
    path.write_text(text)
    return load_study(path, overrides)
