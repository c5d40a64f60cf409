"""How many trials fit on a cluster's nodes, with those that an autoscaler may add."""

import pytest
import yaml

from mopoe_core.errors import UserError
from orchestrator.execution import node_slots
from orchestrator.spec.sections import Resources
from tests.support.naming import unnamed
from tests.system.test_cluster import AWS, OWN, prepared

BOX = {"CPU": 64.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("resources", "there", "fit"),
    [
        ({"cpu": 4, "gpu": 0.5}, [BOX], 16),
        ({"cpu": 8, "gpu": 0.25}, [BOX], 8),
        ({"cpu": 2, "gpu": 0.1}, [BOX], 32),
        ({"cpu": 1, "gpu": 1 / 3}, [{"CPU": 8.0, "GPU": 1.0}], 3),
        ({"cpu": 2}, [{"CPU": 3.0}, {"CPU": 3.0}], 2),
        ({"cpu": 1, "gpu": 2}, [BOX, {"CPU": 0.0}], 4),
        ({"cpu": 1, "at_once": 5}, [BOX], 5),
    ],
)
def test_trials_are_counted_node_by_node(resources, there, fit):
    """CPUs and fractions of GPUs limit how many trials run at once, and no trial is spread over two nodes."""
    asked = Resources(**resources)
    assert node_slots.slots(asked, node_slots.gpus(asked, there), there) == fit


def test_what_no_node_has_is_refused_and_what_an_autoscaler_may_bring_is_not(tmp_path, monkeypatch):
    """With only a head, a GPU is refused. If the head has the file of `ray up`, the workers in it count, up to the cluster's limit."""
    head, asked = {"CPU": 0.0}, Resources(gpu=0.5, cpu=2)
    with pytest.raises(UserError) as caught:
        node_slots.gpus(asked, [head])
    assert not unnamed(caught.value, "resources.cpu", 2, 0)
    (tmp_path / "bootstrap.yaml").write_text(yaml.safe_dump(prepared(AWS) | {"max_workers": 3}))
    monkeypatch.setattr(node_slots, "BOOTSTRAP", str(tmp_path / "bootstrap.yaml"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert node_slots.autoscaler_workers() == []
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert node_slots.autoscaler_workers() == []
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    to_come = node_slots.autoscaler_workers()
    assert to_come == [{"CPU": 8, "GPU": 1}] * 3
    assert node_slots.slots(asked, node_slots.gpus(asked, [head, *to_come]), [head, *to_come]) == 6
    (tmp_path / "bootstrap.yaml").write_text(yaml.safe_dump(prepared(OWN)))
    assert node_slots.autoscaler_workers() == []


def test_a_cpu_does_where_there_is_no_gpu_if_that_was_said():
    """With `cpu_will_do`, a trial asks for a GPU only if a node has one."""
    asked = Resources(gpu=1, cpu_will_do=True)
    assert node_slots.gpus(asked, [{"CPU": 4.0}]) == 0
    assert node_slots.gpus(asked, [BOX]) == 1
