"""How a study's bundles fit a cluster's nodes, by arithmetic and before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aar_ray.config import Resources

Node = Mapping[str, float]
"""Resources of one node as Ray names them: CPU, GPU, trial_slot."""


class DoesNotFit(ValueError):
    """The cluster cannot hold what the study asks for; the message holds the arithmetic."""


@dataclass(frozen=True)
class Placement:
    """What is asked of Ray."""

    groups: int
    """Ray Train worker groups at once."""
    workers: int
    """Workers a group."""
    worker_cpus: float
    worker_gpus: float
    fold_cpus: float
    fold_gpus: float
    trial_slots: int
    """Trials at once."""
    fold_tasks: int = 1
    """Fine-tuning tasks that fit beside the worker groups at once."""
    one_node: bool = False
    """Whether the cluster is the node of the study alone, and cannot grow: all workers have its files."""


def place(resources: Resources, nodes: Sequence[Node]) -> Placement:
    """Fill in what the study leaves open, and check that one group and one fold fit side by side.

    Without a number of groups there are as many as leave half of the processors (or of each GPU) to fine-tuning, and at
    least what one of its tasks asks for.

    Args:
        resources: of the study.
        nodes: of the cluster, those included that an autoscaler could add.

    Raises:
        DoesNotFit: with what is asked and what each node has.
    """
    gpus = sum(node.get("GPU", 0) for node in nodes)
    cpus = sum(node.get("CPU", 0) for node in nodes)
    pretrain, finetune = resources.pretrain, resources.finetune
    # one worker shares its GPU with fine-tuning; several need a whole one each for NCCL
    default_gpus = (0.5 if pretrain.workers == 1 else 1.0) if gpus else 0.0
    worker_gpus = default_gpus if pretrain.gpus_per_worker is None else pretrain.gpus_per_worker
    fold_gpus = (0.25 if gpus else 0.0) if finetune.gpus is None else finetune.gpus
    if pretrain.groups:
        groups = pretrain.groups
    elif worker_gpus:
        beside = (gpus - fold_gpus) // (pretrain.workers * worker_gpus)
        groups = max(1, int(min(gpus // pretrain.workers, beside)))
    else:
        group = pretrain.workers * pretrain.cpus_per_worker
        groups = max(1, int(min(cpus // 2 // group, (cpus - finetune.cpus) // group)))
    placement = Placement(
        groups=min(groups, resources.trial_slots),
        workers=pretrain.workers,
        worker_cpus=pretrain.cpus_per_worker,
        worker_gpus=worker_gpus,
        fold_cpus=finetune.cpus,
        fold_gpus=fold_gpus,
        trial_slots=resources.trial_slots,
        one_node=len(nodes) == 1,
    )
    free = _check(placement, nodes)
    fold = {"CPU": placement.fold_cpus, "GPU": placement.fold_gpus}
    more = sum(min(int(node.get(name, 0) // amount) for name, amount in fold.items() if amount) for node in free)
    return replace(placement, fold_tasks=1 + more)


def processors_of(resources: Resources) -> int:
    """Of this machine, as the study is to use it: at least two, for a pre-train and a fine-tuning side by side."""
    return resources.cpus or max(2, len(os.sched_getaffinity(0)))


def gpus_of_this_machine() -> int:
    """As Ray will count them when it starts."""
    # takes a second, so only those who ask for accelerators pay for it
    from ray._private.accelerators import get_accelerator_manager_for_resource

    manager = get_accelerator_manager_for_resource("GPU")
    return manager.get_current_node_num_accelerators() if manager else 0


def check_this_machine(resources: Resources, gpus: Callable[[], int] = gpus_of_this_machine) -> None:
    """Refuse what a cluster of this machine alone could never hold, without starting one.

    Args:
        resources: of the study.
        gpus: counts this machine's accelerators; asked only where the study asks for some.

    Raises:
        DoesNotFit: a worker group, all groups together with what they may keep while they wait, or a fine-tuning task
            needs more processors or accelerators than there are.
    """
    cpus, pretrain, finetune = processors_of(resources), resources.pretrain, resources.finetune
    group = pretrain.workers * pretrain.cpus_per_worker
    if group > cpus:
        raise DoesNotFit(
            f"a worker group asks for {pretrain.workers} worker(s) x {pretrain.cpus_per_worker:g} CPU = {group:g} CPU, "
            f"and this machine has {cpus} CPU; lower resources.pretrain, or give the address of a cluster"
        )
    if finetune.cpus > cpus:
        raise DoesNotFit(
            f"a fine-tuning task asks for {finetune.cpus:g} CPU, and this machine has {cpus} CPU; "
            "lower resources.finetune.cpus, or give the address of a cluster"
        )
    # a group keeps its processors while it waits for a pre-train, so that one is counted twice: see `cluster`
    groups = min(pretrain.groups or 1, resources.trial_slots)
    together = groups * group + finetune.cpus
    if together > cpus + group:
        raise DoesNotFit(
            f"the study asks for {groups} group(s) of {pretrain.workers} worker(s) with {pretrain.cpus_per_worker:g} "
            f"CPU each and a fine-tuning task with {finetune.cpus:g} CPU beside them, {together:g} CPU "
            f"together; this machine has {cpus} CPU, and one group of {group:g} CPU more while another waits. "
            "Lower resources.pretrain, or give the address of a cluster"
        )
    if pretrain.gpus_per_worker or finetune.gpus:
        place(resources, [{"CPU": cpus + group, "GPU": gpus(), "trial_slot": resources.trial_slots}])


def _check(placement: Placement, nodes: Sequence[Node]) -> list[dict[str, float]]:
    """What the nodes have left when the groups and one fine-tuning task are placed."""
    slots = int(sum(node.get("trial_slot", 0) for node in nodes))
    if slots < 1:
        raise DoesNotFit(
            "a study needs a node with trial slots, none of the "
            f"{len(nodes)} nodes has one; start the head with --resources='{{\"trial_slot\": {placement.trial_slots}}}'"
        )
    worker = {"CPU": placement.worker_cpus, "GPU": placement.worker_gpus}
    fold = {"CPU": placement.fold_cpus, "GPU": placement.fold_gpus}
    bundles = [worker] * (placement.groups * placement.workers) + [fold]
    free = [dict(node) for node in nodes]
    for bundle in sorted(bundles, key=lambda wanted: (-wanted["GPU"], -wanted["CPU"])):
        for node in free:
            if all(node.get(name, 0) >= amount for name, amount in bundle.items()):
                for name, amount in bundle.items():
                    node[name] = node.get(name, 0) - amount
                break
        else:
            raise DoesNotFit(
                f"the study asks for {placement.groups} group(s) of {placement.workers} worker(s) with "
                f"{_amounts(worker)} each and a fine-tuning task with {_amounts(fold)} beside them; the nodes have "
                f"{'; '.join(_amounts(node) for node in nodes)}. Lower resources.pretrain or add nodes"
            )
    return free


def _amounts(bundle: Node) -> str:
    return ", ".join(f"{bundle.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
