import socket

import pytest

from extract.engines import ray_cluster
from extract.engines.ray_cluster import Share, connected, divide, require_ray
from extract.errors import InputError

pytest.importorskip("ray")

TWO = [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 6.0, "GPU": 2.0}]


@pytest.mark.parametrize(
    ("nodes", "actors", "device", "share"),
    [
        pytest.param([{"CPU": 2.0}], None, "auto", Share(1, 2, 0), id="one with what there is"),
        pytest.param([{"CPU": 16.0}], None, "cpu", Share(4, 4, 0), id="four cores each"),
        pytest.param([{"CPU": 9.0}, {"CPU": 7.0}], None, "cpu", Share(3, 4, 0), id="2 + 1"),
        pytest.param([{"CPU": 9.0}, {"CPU": 7.0}], 5, "cpu", Share(5, 3, 0), id="3 + 2"),
        pytest.param([{"CPU": 2.0}], 2, "cpu", Share(2, 1, 0), id="as many as wanted"),
        pytest.param(TWO, None, "auto", Share(6, 3, 1), id="one a GPU"),
        pytest.param(TWO, 2, "cuda", Share(2, 3, 1), id="fewer than GPUs"),
        pytest.param(TWO, None, "cpu", Share(5, 4, 0), id="GPUs left alone"),
        pytest.param([{"CPU": 1.0, "GPU": 4.0}], None, "cuda", Share(1, 1, 1), id="few cores"),
    ],
)
def test_a_cluster_is_divided_among_actors(nodes, actors, device, share):
    assert divide(nodes, actors=actors, device=device) == share


@pytest.mark.parametrize(
    ("nodes", "actors", "device", "says"),
    [
        ([{"CPU": 2.0}, {"CPU": 1.0}], 4, "cpu", "offers 3 processors, too few for 4 actors"),
        ([{}], None, "cpu", "offers 0 processors, too few for 1 actors"),
        ([{"CPU": 2.0}], None, "cuda", "no machine of the Ray cluster offers a GPU"),
        ([{"CPU": 8.0, "GPU": 2.0}], 3, "auto", "offers 2 GPUs with a processor, too few for 3"),
    ],
)
def test_more_than_there_is_cannot_be_had(nodes, actors, device, says):
    with pytest.raises(InputError, match=says):
        divide(nodes, actors=actors, device=device)


@pytest.mark.parametrize("address", ["localhost", "host:", ":6379", "host:0", "host:99999", "a:b"])
def test_an_address_is_a_host_and_a_port(address):
    with pytest.raises(InputError, match=r"write host:port, as 10\.0\.0\.1:6379, or auto"):
        require_ray(address)


def test_a_client_from_outside_is_refused():
    with pytest.raises(InputError, match="run this on a machine of the cluster"):
        require_ray("ray://10.0.0.1:10001")


def test_nobody_at_the_address():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=r"no Ray cluster answers there \(Connection refused\)"):
        require_ray(f"127.0.0.1:{port}")


def test_something_else_than_ray_at_the_address(monkeypatch):
    monkeypatch.setattr(ray_cluster, "_PROBE_SECONDS", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        require_ray(address)
        with pytest.raises(InputError, match="not a Ray cluster's head node"), connected(address):
            pass
