"""How nodes are named on the command line, and what their packet filters let pass."""

from __future__ import annotations

import subprocess

import pytest

from e2e.cluster.builder import COMPILER_FLAGS, environment
from e2e.cluster.layout import SOURCES, ClusterError, Node
from e2e.cluster.nodes import DEFAULT_NODES, gpu_labels, parse


def test_the_default_is_two_nodes_with_gpus_and_one_without() -> None:
    assert parse(DEFAULT_NODES) == [Node("h100-a", 0, "h100", 8), Node("rtx4090-a", 1, "rtx4090", 4), Node("cpu-a", 2)]


def test_nodes_are_added_and_known_ones_keep_their_number_and_so_their_addresses() -> None:
    known = parse("a,b")
    assert parse("b:h100:2,c", known) == [Node("a", 0), Node("b", 1, "h100", 2), Node("c", 2)]


@pytest.mark.parametrize("text", ["", "a:", "a:b200:1", "a:h100", "a:h100:-1", "A", "../a"])
def test_what_is_no_node_is_refused_with_the_form_that_is_expected(text: str) -> None:
    with pytest.raises(ClusterError, match="NAME:GPU:COUNT with GPU one of h100, rtx4090"):
        parse(text)


def test_labels_are_those_of_gpu_feature_discovery() -> None:
    assert gpu_labels("h100", 8) == {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "nvidia.com/gpu.memory": "81559",
        "nvidia.com/gpu.family": "hopper",
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": "8",
        "nvidia.com/gpu.replicas": "1",
    }


@pytest.mark.cluster
def test_network_policies_compile_to_the_right_filters() -> None:
    command = ["go", "test", "-vet=off", *COMPILER_FLAGS, "./netpol"]  # the flags of the build, for its cache
    result = subprocess.run(command, cwd=SOURCES, env=environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
