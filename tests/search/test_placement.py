"""Placement: bundles against nodes, by arithmetic."""

from __future__ import annotations

import pytest

from aar_ray.config import Resources
from aar_ray.search.placement import DoesNotFit, check_this_machine, place

LAPTOP = [{"CPU": 2.0, "trial_slot": 4.0}]


def resources(**parts: object) -> Resources:
    return Resources.model_validate(parts)


def test_a_laptop_holds_one_group_of_one_processor() -> None:
    placement = place(resources(), LAPTOP)
    assert (placement.groups, placement.workers, placement.worker_cpus, placement.worker_gpus) == (1, 1, 1, 0)
    assert (placement.fold_cpus, placement.fold_gpus) == (1, 0)


def test_processors_are_halved_between_pre_training_and_fine_tuning() -> None:
    assert place(resources(trial_slots=32), [{"CPU": 16.0, "trial_slot": 32.0}]).groups == 8
    assert place(resources(trial_slots=32, pretrain={"workers": 3}), [{"CPU": 16.0, "trial_slot": 32.0}]).groups == 2


def test_groups_leave_room_for_a_fine_tuning_task_that_asks_for_more_than_half() -> None:
    assert place(resources(finetune={"cpus": 3}), [{"CPU": 4.0, "trial_slot": 4.0}]).groups == 1
    whole = resources(pretrain={"gpus_per_worker": 1}, finetune={"gpus": 1})
    assert place(whole, [{"CPU": 8.0, "GPU": 3.0, "trial_slot": 4.0}]).groups == 2


def test_never_more_groups_than_trials_at_once() -> None:
    assert place(resources(trial_slots=3), [{"CPU": 64.0, "trial_slot": 3.0}]).groups == 3


def test_gpus_are_used_where_there_are_any() -> None:
    nodes = [{"CPU": 0.0, "trial_slot": 8.0}, *[{"CPU": 8.0, "GPU": 1.0}] * 4]
    placement = place(resources(trial_slots=8), nodes)
    assert (placement.groups, placement.worker_gpus, placement.fold_gpus) == (4, 0.5, 0.25)
    # NCCL takes one whole GPU a worker
    two_workers = place(resources(trial_slots=8, pretrain={"workers": 2, "groups": 1}), nodes)
    assert (two_workers.groups, two_workers.worker_gpus) == (1, 1.0)


def test_fine_tuning_tasks_are_as_many_as_fit_beside_the_groups() -> None:
    assert place(resources(), LAPTOP).fold_tasks == 1
    assert place(resources(), [{"CPU": 3.0, "trial_slot": 4.0}]).fold_tasks == 2
    assert place(resources(finetune={"cpus": 2}), [{"CPU": 8.0, "trial_slot": 1.0}, {"CPU": 3.0}]).fold_tasks == 3
    # half of each GPU is left to fine-tuning, in quarters
    assert place(resources(trial_slots=2), [{"CPU": 8.0, "GPU": 1.0, "trial_slot": 2.0}] * 2).fold_tasks == 4


def test_one_node_is_told_from_several_that_an_autoscaler_may_add() -> None:
    assert place(resources(), LAPTOP).one_node
    assert not place(resources(), [*LAPTOP, {"CPU": 2.0}]).one_node


def test_what_does_not_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(DoesNotFit, match=r"1 group\(s\) of 2 worker\(s\) with 1 CPU, 0 GPU each.*have 2 CPU, 0 GPU"):
        place(resources(pretrain={"workers": 2}), LAPTOP)
    with pytest.raises(DoesNotFit, match="with 1 CPU, 1 GPU each"):
        place(resources(pretrain={"gpus_per_worker": 1}), LAPTOP)


def test_a_bundle_must_fit_one_node_and_not_their_sum() -> None:
    nodes = [{"CPU": 2.0, "trial_slot": 4.0}, {"CPU": 2.0}]
    assert place(resources(pretrain={"groups": 1}), nodes).groups == 1
    with pytest.raises(DoesNotFit, match="with 3 CPU"):
        place(resources(pretrain={"groups": 1, "cpus_per_worker": 3}), nodes)


def test_a_cluster_without_trial_slots_is_refused_with_the_command() -> None:
    with pytest.raises(DoesNotFit, match=r"none of the 1 nodes has one; start the head with --resources"):
        place(resources(), [{"CPU": 8.0}])


def test_this_machine_is_asked_for_its_accelerators_only_where_some_are_wanted() -> None:
    def asked() -> int:
        raise AssertionError("nobody asked for accelerators")

    check_this_machine(resources(cpus=2), asked)
    check_this_machine(resources(cpus=2, pretrain={"gpus_per_worker": 0}, finetune={"gpus": 0}), asked)
    one_each = resources(cpus=2, pretrain={"gpus_per_worker": 1}, finetune={"gpus": 1})
    check_this_machine(one_each, lambda: 2)
    with pytest.raises(DoesNotFit, match=r"1 worker\(s\) with 1 CPU, 1 GPU each.* 1 CPU, 1 GPU beside them.* 1 GPU\."):
        check_this_machine(one_each, lambda: 1)
    with pytest.raises(DoesNotFit, match=r"0\.25 GPU beside them"):
        check_this_machine(resources(cpus=2, finetune={"gpus": 0.25}), lambda: 0)
