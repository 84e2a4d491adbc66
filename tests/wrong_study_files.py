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
    (
        "name: herd",
        "name: ¦..",
        "name: must begin with a letter or digit and hold only letters, digits, '.', '_' and '-', got '..'",
    ),
    ("trials: 4", "trials: ¦0", "budget.trials: must be at least 1, got 0"),
    ("trials: 4", "trials: ¦four", "budget.trials: must be a whole number, got 'four'"),
    (
        "trials: 4",
        "¦trials:4",
        "budget: must be a mapping of names to values, got 'trials:4'; a colon needs a space after it",
    ),
    ("trials: 4", "trials: 4\n  hours: ¦.nan", "budget.hours: must be finite, got .nan"),
    ("trials: 4", "trials: 4\n  hours: ¦0,5", "budget.hours: must be a number, got '0,5'; write 0.5"),
    ("trials: 4", "trials: 4\n  ¦hour: 1", "budget.hour: unknown name; did you mean hours?"),
    ("budget:\n  trials: 4", "budget: ¦[4]", "budget: must be a mapping of names to values, got [4]"),
    ("budget:", "protocol: {sealed: ¦goat1}\nbudget:", "protocol.sealed: must be a list, got 'goat1'; write [goat1]"),
    (
        "budget:",
        "protocol: ¦{split: paper, sealed: [a]}\nbudget:",
        "protocol: sealed must be empty under split: paper, which draws its own test animals, got ('a',)",
    ),
    (
        "budget:",
        "protocol: {transductive: ¦yes}\nbudget:",
        "protocol.transductive: must be true or false, got 'yes'; write true",
    ),
    (
        "budget:",
        "resources: {pretrain: {¦worker: 2}}\nbudget:",
        "resources.pretrain.worker: unknown name; did you mean workers?",
    ),
    (
        "budget:",
        "sampler: {name: ¦TPE}\nbudget:",
        "sampler.name: must be 'stage_aware', 'tpe', 'random', 'grid', 'qmc', 'cma-es' or 'gp', got "
        "'TPE'; did you mean tpe?",
    ),
    (
        "budget:",
        "¦tfc: {margin: 1}\nbudget:",
        "tfc: unknown name; a setting belongs under fixed or search, by its dotted name such as tfc.contrastive_weight",
    ),
    # sources
    (
        "unit: mg",
        "unit: ¦mG",
        "data.unlabelled.1.unit: must be 'g', 'mg', 'm/s^2' or 'counts', got 'mG'; did you mean mg?",
    ),
    ("- name: sheep\n      reader: csv", "- ¦name: sheep", "data.unlabelled.1.reader: must be given"),
    (
        "reader: csv",
        "reader: ¦cvs",
        "data.unlabelled.1.reader: must be simulated, csv, parquet, goats, horses, cattle, sheep or "
        "device, got 'cvs'; did you mean csv?",
    ),
    ("rate_hz: 12.5", "rate_hz: ¦-12.5", "data.unlabelled.1.rate_hz: must be above 0, got -12.5"),
    ("animals: 3", "animals: ¦3.0", "data.unlabelled.0.animals: must be a whole number, got 3.0; write 3"),
    (
        "animals: 3",
        "animals: 3, ¦unit: g",
        "data.unlabelled.0.unit: unknown name; known here are name, behaviours, herd, reader, species, "
        "animals, minutes_per_animal",
    ),
    (
        "unlabelled:\n    - {name: cows",
        "¦unlabelled:\n    - {name: goats",
        "data: source names must differ, got goats more than once",
    ),
    (
        GOATS,
        f"¦{GOAT_FILES}",
        "data.labelled.columns.label: must name the column that holds the behaviours: labelled windows come from it",
    ),
    (
        "unit: mg",
        "unit: mg\n      behaviours: {¦1: eat}",
        "data.unlabelled.1.behaviours.1: names must be text, got 1; put it in quotes",
    ),
    # fixed settings
    (
        "tfc.temperature: 0.2",
        "¦tfc.temprature: 0.2",
        "fixed.tfc.temprature: unknown setting; did you mean tfc.temperature?",
    ),
    ("tfc.temperature: 0.2", "¦temperature: 0.2", "fixed.temperature: unknown setting; did you mean tfc.temperature?"),
    (
        "tfc.temperature: 0.2",
        "¦pretrain.anchors: both",
        "fixed.pretrain.anchors: unknown setting; did you mean tfc.anchors?",
    ),
    (
        "tfc.temperature: 0.2",
        "¦learning_rate: 1",
        "fixed.learning_rate: unknown setting; did you mean pretrain.learning_rate or finetune.learning_rate?",
    ),
    (
        "tfc.temperature: 0.2",
        "¦tfc.lambda: 0.2",
        "fixed.tfc.lambda: unknown setting; did you mean tfc.contrastive_weight?",
    ),
    (
        "tfc.temperature: 0.2",
        "¦tfc: {temperature: 0.2}",
        "fixed.tfc: a section is not a setting; write tfc.temperature as one name",
    ),
    ("tfc.temperature: 0.2", "tfc.temperature: ¦0", "fixed.tfc.temperature: must be above 0, got 0"),
    ("tfc.temperature: 0.2", "tfc.temperature: ¦.inf", "fixed.tfc.temperature: must be finite, got .inf"),
    (
        "tfc.temperature: 0.2",
        "tfc.temperature: ¦'1e-4'",
        "fixed.tfc.temperature: must be a number, got '1e-4'; write 0.0001",
    ),
    (
        "tfc.temperature: 0.2",
        "tfc.temperature: ¦{uniform: [0.1, 1]}",
        "fixed.tfc.temperature: must be a number, got {'uniform': [0.1, 1]}; a distribution belongs under search",
    ),
    (
        "tfc.temperature: 0.2",
        "augment.time_families: ¦[jiter]",
        "fixed.augment.time_families: time_families must name one or more of jitter, scaling, "
        "time_shift, crop, rotation, each once, got ('jiter',)",
    ),
    (
        "patchtst.model_size: 64",
        "¦patchtst.heads: 3",
        "fixed.patchtst.heads: patchtst.heads must divide patchtst.model_size, got 3 and 128",
    ),
    (
        "patchtst.model_size: 64",
        "¦patchtst.model_size: 60",
        "fixed.patchtst.model_size: patchtst.heads must divide patchtst.model_size, got 8 and 60",
    ),
    # distributions
    ("tfc.margin:", "¦tfc.marign:", "search.tfc.marign: unknown setting; did you mean tfc.margin?"),
    (
        MARGIN,
        "tfc.margin: {¦unifrom: [0.05, 1]}",
        "search.tfc.margin.unifrom: must be one of uniform, log_uniform, integer, choice or fixed, got "
        "'unifrom'; did you mean uniform?",
    ),
    (
        MARGIN,
        "tfc.margin: ¦[0.05, 1.0]",
        "search.tfc.margin: must be one of uniform, log_uniform, integer, choice or fixed, got [0.05, "
        "1.0]; write {uniform: [0.05, 1.0]}",
    ),
    (
        MARGIN,
        "tfc.margin: ¦{uniform: [1, 2], integer: [1, 2]}",
        "search.tfc.margin: must be one of uniform, log_uniform, integer, choice or fixed, got uniform and integer",
    ),
    (MARGIN, "tfc.margin: {uniform: ¦0.5}", "search.tfc.margin.uniform: must be two numbers [low, high], got 0.5"),
    (MARGIN, "tfc.margin: {uniform: [¦0, 1.0]}", "search.tfc.margin.uniform.0: must be above 0, got 0"),
    (MARGIN, "tfc.margin: {uniform: [0.05, ¦.nan]}", "search.tfc.margin.uniform.1: must be finite, got .nan"),
    (
        MARGIN,
        "tfc.margin: {uniform: ¦[1.0, 1.0]}",
        "search.tfc.margin.uniform: low must be below high, got 1 and 1; fix the setting instead",
    ),
    (
        MARGIN,
        "tfc.margin: {uniform: ¦[1.0, 0.05]}",
        "search.tfc.margin.uniform: low must be below high, got 1 and 0.05; exchange the two",
    ),
    (
        MARGIN,
        "tfc.margin: {uniform: [0.5, 1.0], step: ¦2}",
        "search.tfc.margin.step: step must be at most high - low = 0.5, got 2",
    ),
    (
        MARGIN,
        "tfc.margin: {uniform: [0.5, 1.0], step: ¦0.24}",
        "search.tfc.margin.step: step must divide high - low = 0.5, got 0.24; end the range at 0.98",
    ),
    (MARGIN, "tfc.margin: {log_uniform: [0.5, 1], ¦step: 0.1}", "search.tfc.margin.step: log_uniform takes no step"),
    (
        MARGIN,
        "tfc.margin: {choice: ¦[0.5]}",
        "search.tfc.margin.choice: must list two values or more, got [0.5]; one belongs under fixed",
    ),
    (
        MARGIN,
        "tfc.margin: {choice: [0.5, 0.7, ¦0.5]}",
        "search.tfc.margin.choice.2: must be listed once, got 0.5 again",
    ),
    (MARGIN, "tfc.margin: {choice: [0.5, ¦-1]}", "search.tfc.margin.choice.1: must be above 0, got -1"),
    (
        MARGIN,
        "finetune.weight_decay: {log_uniform: [¦0, 1]}",
        "search.finetune.weight_decay.log_uniform.0: low must be above 0 for a logarithm, got 0; use uniform",
    ),
    (
        "{integer: [4, 16]}",
        "{¦uniform: [4, 16]}",
        "search.patchtst.patch_length.uniform: patchtst.patch_length takes whole numbers, got uniform; "
        "use integer or choice",
    ),
    (
        "{integer: [4, 16]}",
        "{integer: [¦4.5, 16]}",
        "search.patchtst.patch_length.integer.0: must be a whole number, got 4.5",
    ),
    (
        "[trained, frozen]",
        "[trained, ¦froozen]",
        "search.finetune.encoder.choice.1: must be 'trained' or 'frozen', got 'froozen'; did you mean frozen?",
    ),
    (
        "{choice: [trained, frozen]}",
        "{¦uniform: [0, 1]}",
        "search.finetune.encoder.uniform: finetune.encoder takes no numbers, got uniform; use choice",
    ),
    (
        MARGIN,
        "tfc.margin: {¦fix: 0.5}",
        "search.tfc.margin.fix: must be one of uniform, log_uniform, integer, choice or fixed, got "
        "'fix'; did you mean fixed?",
    ),
    (MARGIN, "tfc.margin: {fixed: ¦-1}", "search.tfc.margin.fixed: must be above 0, got -1"),
    (MARGIN, "tfc.margin: {fixed: ¦[0.5, 1]}", "search.tfc.margin.fixed: must be a number, got [0.5, 1]"),
    (MARGIN, "tfc.margin: {fixed: 0.5, ¦step: 1}", "search.tfc.margin.step: fixed takes no step"),
    (
        MARGIN,
        "tfc.margin: ¦{fixed: 0.5, choice: [1, 2]}",
        "search.tfc.margin: must be one of uniform, log_uniform, integer, choice or fixed, got choice and fixed",
    ),
    # conditions
    (MARGIN, "tfc.margin: {uniform: [0.05, 1], ¦wen: {}}", "search.tfc.margin.wen: unknown name; did you mean when?"),
    (MARGIN, "tfc.margin: {uniform: [0.05, 1], when: ¦{}}", "search.tfc.margin.when: must hold at least 1, got {}"),
    (
        MARGIN,
        "tfc.margin: {uniform: [0.05, 1], when: ¦x}",
        "search.tfc.margin.when: must be a mapping of names to values, got 'x'",
    ),
    (
        *_when(MARGIN, "¦tfc.temprature: 1"),
        "search.tfc.margin.when.tfc.temprature: unknown setting; did you mean tfc.temperature?",
    ),
    (
        *_when(MARGIN, "¦tfc.margin: 1"),
        "search.tfc.margin.when.tfc.margin: must name another setting than tfc.margin itself",
    ),
    (
        *_when(MARGIN, "¦tfc.distance: cosine"),
        "search.tfc.margin.when.tfc.distance: must name a setting that is searched or fixed, this one is "
        "neither; fix it or leave the condition out",
    ),
    (
        *_when(MARGIN, "¦finetune.encoder: frozen"),
        "search.tfc.margin.when.finetune.encoder: must name a setting of pre-training, as tfc.margin is "
        "one: encoders are shared by fine-tune settings",
    ),
    (
        *_when(ENCODER, "¦tfc.margin: 0.5"),
        "search.finetune.encoder.when.tfc.margin: must name a choice, an integer or a fixed setting: a "
        "number of a range is never met exactly",
    ),
    (
        *_when(MARGIN, "tfc.temperature: ¦0.3"),
        "search.tfc.margin.when.tfc.temperature: must be a value that tfc.temperature can have, 0.2, got 0.3",
    ),
    (
        *_when(MARGIN, "patchtst.patch_length: ¦17"),
        "search.tfc.margin.when.patchtst.patch_length: must be a value that patchtst.patch_length can "
        "have, 4 to 16, got 17",
    ),
    (
        *_when(MARGIN, "patchtst.patch_length: [8, ¦17]"),
        "search.tfc.margin.when.patchtst.patch_length.1: must be a value that patchtst.patch_length can "
        "have, 4 to 16, got 17",
    ),
    (
        *_when(MARGIN, "patchtst.patch_length: ¦[]"),
        "search.tfc.margin.when.patchtst.patch_length: must list at least one value",
    ),
    (
        *_when(RATE, "finetune.encoder: ¦froze"),
        "search.finetune.learning_rate.when.finetune.encoder: must be a value that finetune.encoder can "
        "have, 'trained' or 'frozen', got 'froze'; did you mean frozen?",
    ),
    (
        *_when(RATE, "finetune.encoder: [frozen, ¦trainde]"),
        "search.finetune.learning_rate.when.finetune.encoder.1: must be a value that finetune.encoder "
        "can have, 'trained' or 'frozen', got 'trainde'; did you mean trained?",
    ),
    (
        *_when(RATE, "finetune.encoder: ¦true"),
        "search.finetune.learning_rate.when.finetune.encoder: must be a value that finetune.encoder can "
        "have, 'trained' or 'frozen', got true",
    ),
    (
        f"{RATE}\n  {ENCODER}",
        "finetune.optimiser: {choice: [adam, adamw], when: {¦finetune.encoder: frozen}}\n  "
        "finetune.encoder: {choice: [trained, frozen], when: {finetune.optimiser: adam}}",
        "search.finetune.optimiser.when.finetune.encoder: goes round in a circle: finetune.optimiser "
        "depends on finetune.encoder depends on finetune.optimiser; leave one condition out",
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
        "search.finetune.class_balance_beta: searching it changes nothing: finetune.class_weights is "
        "never effective_number, which alone has a β; fix it or leave it out",
    ),
    # samplers
    (
        "budget:",
        "sampler: {name: ¦[tpe]}\nbudget:",
        "sampler.name: must be 'stage_aware', 'tpe', 'random', 'grid', 'qmc', 'cma-es' or 'gp', got "
        "['tpe']; did you mean tpe?",
    ),
    (
        "budget:",
        "sampler: {objectives: ¦seconds}\nbudget:",
        "sampler.objectives: must be a list, got 'seconds'; write [seconds]",
    ),
    (
        "budget:",
        "sampler: {objectives: [macro_f1, ¦second]}\nbudget:",
        "sampler.objectives.1: must be 'macro_f1' or 'seconds', got 'second'; did you mean seconds?",
    ),
    (
        "budget:",
        "sampler: ¦{objectives: [seconds]}\nbudget:",
        "sampler: objectives must hold macro_f1, and each once, got seconds",
    ),
    (
        "budget:",
        "sampler: ¦{objectives: []}\nbudget:",
        "sampler: objectives must hold macro_f1, and each once, got none",
    ),
    (
        "budget:",
        "sampler: ¦{name: cma-es, objectives: [macro_f1, seconds]}\nbudget:",
        "sampler: objectives must be macro_f1 alone under name: cma-es; tpe and gp pursue several",
    ),
    (
        "budget:",
        "sampler: ¦{name: tpe, first_folds: 2}\nbudget:",
        "sampler: first_folds goes with name: stage_aware, got name: tpe",
    ),
    (
        "budget:",
        "sampler: ¦{name: gp, first_epochs: 2}\nbudget:",
        "sampler: first_epochs goes with name: stage_aware, got name: gp",
    ),
    ("budget:", "sampler: {first_folds: ¦0}\nbudget:", "sampler.first_folds: must be at least 1, got 0"),
    (
        "budget:",
        "sampler: {first_epochs: ¦90}\nbudget:",
        "sampler.first_epochs: must be below pretrain.epochs, got 90 and 40",
    ),
    (
        "budget:",
        "sampler: ¦{grid_points: 5}\nbudget:",
        "sampler: grid_points goes with name: grid, got name: stage_aware",
    ),
    ("budget:", "sampler: {name: grid, grid_points: ¦1}\nbudget:", "sampler.grid_points: must be at least 2, got 1"),
    (
        "budget:",
        "sampler: {name: ¦grid, grid_points: 40}\nbudget:",
        "sampler.name: a grid of 624000 points is too large, at most 20000 are looked through; give "
        "fewer grid_points, search fewer settings, or use qmc",
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
    (
        *_enqueued("[{tfc.margin: ¦{uniform: [0, 1]}}]"),
        "enqueue.0.tfc.margin: must be a number, got {'uniform': [0, 1]}; a distribution belongs under search",
    ),
    (
        *_enqueued("[{tfc.margin: ¦2.0}]"),
        "enqueue.0.tfc.margin: must be searched, from 0.05 to 1, got 2.0; widen the search or change the value",
    ),
    (
        *_enqueued("[{patchtst.patch_length: ¦17}]"),
        "enqueue.0.patchtst.patch_length: must be searched, from 4 to 16, got 17; widen the search or change the value",
    ),
    (
        *_enqueued("[{finetune.encoder: ¦froze}]"),
        "enqueue.0.finetune.encoder: must be 'trained' or 'frozen', got 'froze'; did you mean frozen?",
    ),
    (
        *_enqueued("[{¦tfc.temperature: 0.2}]"),
        "enqueue.0.tfc.temperature: must be a searched setting, and this one is fixed in line 15; leave it out",
    ),
    (
        *_enqueued("[{¦tfc.distance: cosine}]"),
        "enqueue.0.tfc.distance: must be a searched setting, and this one is not searched; leave it out",
    ),
    (*_enqueued("[¦{}]"), "enqueue.0: must differ from every other, has the settings of trial 0"),
    (*_enqueued("[¦{tfc.margin: 0.5}]"), "enqueue.0: must differ from every other, has the settings of trial 0"),
    (
        *_enqueued("[{tfc.margin: 1}, ¦{tfc.margin: 1.0}]"),
        "enqueue.1: must differ from every other, has the settings of entry 0",
    ),
    (
        *_enqueued("[¦{patchtst.patch_length: 4, patchtst.patch_stride: 5}]"),
        "enqueue.0: must keep patchtst.patch_stride <= patchtst.patch_length, got 5 and 4",
    ),
    (
        *_enqueued("[¦{patchtst.patch_stride: 9}]"),
        "enqueue.0: must keep patchtst.patch_stride <= patchtst.patch_length, got 9 and 8; give "
        "patchtst.patch_length too",
    ),
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
        "warm_start: goes with a sampler that can be told of other studies, stage_aware, tpe, gp or cma-es, got random",
    ),
    (
        "budget:",
        "sampler: {name: qmc}\n¦warm_start: [a]\nbudget:",
        "warm_start: goes with a sampler that can be told of other studies, stage_aware, tpe, gp or cma-es, got qmc",
    ),
    ("trials: 4", "trials: 4\n  patience: ¦2", "budget.patience: must be at least 3, got 2"),
    ("trials: 4", "trials: 4\n  patience: 5\n  least_gain: ¦0", "budget.least_gain: must be above 0, got 0"),
    (
        "budget:\n  trials: 4",
        "budget: ¦{trials: 4, least_gain: 0.1}",
        "budget: least_gain goes with patience, the number of trials that must promise it, got 0.1",
    ),
    # settings that cannot work together
    (
        "tfc.temperature: 0.2\nsearch:\n  tfc.margin",
        "tfc.margin: 1\nsearch:\n  ¦tfc.margin",
        "search.tfc.margin: must not be searched and fixed at once, is fixed in line 15",
    ),
    (
        "patchtst.patch_length: {integer: [4, 16]}",
        "¦patchtst.patch_length: {integer: [4, 27]}",
        "search.patchtst.patch_length: patchtst.patch_length must be at most the 26 bins of the "
        "one-sided spectrum of a window of 50 samples, got 27",
    ),
    (
        "tfc.temperature: 0.2",
        "¦finetune.context_seconds: 1.5",
        "fixed.finetune.context_seconds: finetune.context_seconds must be 0 or at least data.step_seconds, 2, to reach "
        "a neighbour, got 1.5",
    ),
    (
        ENCODER,
        "¦finetune.smoothing_seconds: {choice: [0, 0.5, 4]}",
        "search.finetune.smoothing_seconds: finetune.smoothing_seconds must be 0 or at least data.step_seconds, 2, to "
        "reach a neighbour, got 0.5",
    ),
    (
        ENCODER,
        "¦patchtst.heads: {integer: [2, 4]}",
        "search.patchtst.heads: patchtst.heads must divide patchtst.model_size in every combination, got "
        "3 and 64; use choice",
    ),
    # searches in vain
    (
        f"tfc.temperature: 0.2\nsearch:\n  {MARGIN}",
        f"tfc.margin_form: linear\nsearch:\n  ¦{MARGIN}",
        "search.tfc.margin: searching it changes nothing: tfc.margin_form is linear, under which δ is an "
        "additive constant without a gradient; fix it or leave it out",
    ),
    (
        f"tfc.temperature: 0.2\nsearch:\n  {MARGIN}",
        f"tfc.contrastive_weight: 1\nsearch:\n  ¦{MARGIN}",
        "search.tfc.margin: searching it changes nothing: tfc.contrastive_weight is 1, which leaves the "
        "consistency loss out; fix it or leave it out",
    ),
    (
        MARGIN,
        "¦tfc.margin: {uniform: [3, 5]}",
        "search.tfc.margin: searching it changes nothing: tfc.margin is 2 or more, beyond every "
        "distance, where the hinge is linear and δ has no gradient; fix it or leave it out",
    ),
    (
        ENCODER,
        "¦tfc.negatives: {choice: [global, local]}",
        "search.tfc.negatives: searching it changes nothing: resources.pretrain.workers is 1, so a batch "
        "has no other worker; fix it or leave it out",
    ),
    (
        ENCODER,
        "¦augment.rotation_degrees: {uniform: [5, 45]}",
        "search.augment.rotation_degrees: searching it changes nothing: augment.time_families never "
        "holds rotation and augment.rotate_first is false; fix it or leave it out",
    ),
    (
        ENCODER,
        "¦classifier.fused_size: {integer: [8, 64]}",
        "search.classifier.fused_size: searching it changes nothing: classifier.convolution is never "
        "across_axes, which alone has a fused size; fix it or leave it out",
    ),
    (
        ENCODER,
        "¦finetune.patience: {integer: [100, 200]}",
        "search.finetune.patience: searching it changes nothing: it is never below finetune.epochs, so "
        "training never stops early; fix it or leave it out",
    ),
    # constraints
    (
        STRIDE_LE_LENGTH,
        "¦patchtst.patch_length >= patchtst.patch_stride",
        "require.0: must read `smaller <= larger` with two searched settings, got 'patchtst.patch_length "
        ">= patchtst.patch_stride'; write patchtst.patch_stride <= patchtst.patch_length",
    ),
    (
        STRIDE_LE_LENGTH,
        "¦patchtst.patch_stride <= patchtst.patch_lenght",
        "require.0: unknown setting patchtst.patch_lenght; did you mean patchtst.patch_length?",
    ),
    (
        STRIDE_LE_LENGTH,
        "¦patchtst.patch_stride <= 8",
        "require.0: orders two searched settings, and 8 is a number; end the range of "
        "patchtst.patch_stride at 8 instead",
    ),
    (
        "require:\n",
        "require:\n  - ¦tfc.margin <= tfc.temperature\n",
        "require.0: orders two searched settings, and tfc.temperature is not searched but 0.2; end the "
        "range of tfc.margin at 0.2 instead",
    ),
    (
        "require:\n",
        "require:\n  - ¦patchtst.heads <= patchtst.layers\n",
        "require.0: neither patchtst.heads nor patchtst.layers is searched; leave it out",
    ),
    (
        "require:\n",
        "require:\n  - ¦finetune.encoder <= tfc.margin\n",
        "require.0: orders numbers, and finetune.encoder takes none",
    ),
    (
        "require:\n",
        "require:\n  - ¦patchtst.patch_length <= tfc.margin\n",
        "require.0: can never hold: patchtst.patch_length is at least 4, tfc.margin at most 1",
    ),
    (
        f"- {STRIDE_LE_LENGTH}",
        f"- {STRIDE_LE_LENGTH}\n  - ¦patchtst.patch_length <= patchtst.patch_stride",
        "require.1: goes round in a circle: patchtst.patch_length <= patchtst.patch_stride <= "
        "patchtst.patch_length; leave one out",
    ),
    # text that is no YAML, or more than a study needs of it
    ("seed: 3", "seed: 3\n¦seed: 4", "seed: must be given once, was already given in line 2"),
    (
        "seed: 3",
        "¦\tseed: 3",
        "must be valid YAML: found character '\\t' that cannot start any token; indent with spaces, not with a tab",
    ),
    (
        "seed: 3",
        "seed: 3¦: 4",
        "must be valid YAML: mapping values are not allowed here; check the indentation, and put text "
        "that holds ': ' in quotes",
    ),
    ("seed: 3", "seed: ¦*x", "must be valid YAML: found undefined alias 'x'"),
    (
        "seed: 3",
        "seed: ¦@3",
        "must be valid YAML: found character '@' that cannot start any token; put the text in quotes",
    ),
    ("seed: 3", "seed: ¦\a", "must be valid YAML: unacceptable character #x0007: special characters are not allowed"),
    ("seed: 3", "¦3: seed", "3: names must be text, got 3; put it in quotes"),
    ("seed: 3", "seed: ¦!!binary x", "seed: must be plain text or a number without a tag, got binary"),
    ("seed: 3", "seed: ¦&loop [*loop]", "seed: must be nested at most 20 deep and the file hold at most 100000 values"),
    (
        "budget:",
        "¦---\nbudget:",
        "must be valid YAML: expected a single document in the stream, but found another document",
    ),
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
