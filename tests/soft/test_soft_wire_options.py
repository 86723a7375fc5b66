"""Which wire a device string asks for."""

from __future__ import annotations

import pytest

from vfiodpa.errors import UsageError
from vfiodpa.soft.device_string import parse_options
from vfiodpa.soft.options import Port


@pytest.mark.parametrize(
    ("text", "port", "target"),
    [
        ("soft:tap=vm0", Port.TAP, "vm0"),
        ("soft:port=tap,tap=vm0", Port.TAP, "vm0"),
        ("soft:packet=eth0", Port.PACKET, "eth0"),
        ("soft:pcap=/tmp/a.pcapng", Port.PCAP, "/tmp/a.pcapng"),
        ("soft:link=lab-1", Port.LINK, "lab-1"),
    ],
)
def test_a_name_is_a_port(text: str, port: Port, target: str) -> None:
    options = parse_options(text)
    assert (options.port, options.target) == (port, target)


def test_any_port_is_captured() -> None:
    options = parse_options("soft:link=lab,capture=a.pcapng")
    assert (options.port, options.captured) == (Port.LINK, "a.pcapng")
    assert parse_options("soft:pcap=b.pcapng").captured == "b.pcapng"
    assert parse_options("soft").captured == ""


def test_generated_frames_have_sizes_and_flows() -> None:
    options = parse_options("soft:port=generate,sizes=60+576+1514,flows=16")
    assert (options.sizes, options.flows) == ((60, 576, 1514), 16)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("soft:port=tap", "wants a name; try: tap=NAME"),
        ("soft:tap=a,packet=b", "two ports"),
        ("soft:port=echo,tap=a", "two ports"),
        ("soft:tap=", "name of a tap interface"),
        ("soft:tap=a/b", "name of a tap interface"),
        ("soft:tap=sixteen-letters-", "name of a tap interface"),
        ("soft:packet=..", "name of an interface"),
        ("soft:link=a b", "letters, digits"),
        ("soft:link=a,queues=65", "up to 64 queue pairs"),
        ("soft:pcap=", "a file"),
        ("soft:pcap=a,capture=b", "cannot be with capture="),
        ("soft:flows=2", "for port=generate only"),
        ("soft:port=generate,flows=0", "1 to 65536"),
        ("soft:port=generate,frame=60,sizes=60+61", "cannot be both"),
        ("soft:port=generate,sizes=59", "each 60 to 65535"),
        ("soft:port=generate,sizes=" + "+".join(["60"] * 17), "up to 16 sizes"),
    ],
)
def test_bad_wires_say_what_is_legal(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_options(text)
