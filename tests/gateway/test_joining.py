"""What is written in one turn of the event loop leaves together, and nothing of it is lost or late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from smart_gateway.gateway.edge.joining import JoiningTransport


class Wire(asyncio.Transport):
    """Notes each piece that leaves, and the end."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.pieces.append(b"".join(list_of_data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def turn() -> None:
    await asyncio.sleep(0)


async def test_a_head_and_its_body_leave_in_one_piece() -> None:
    wire = Wire()
    transport = JoiningTransport(wire, asyncio.get_running_loop())
    transport.write(b"head")
    transport.write(b"body")
    assert wire.pieces == []
    await turn()
    assert wire.pieces == [b"headbody"]
    transport.write(b"next")
    await turn()
    assert wire.pieces == [b"headbody", b"next"]


async def test_much_leaves_at_once_so_that_the_transport_can_say_when_it_has_enough() -> None:
    wire = Wire()
    transport = JoiningTransport(wire, asyncio.get_running_loop())
    transport.write(b"head")
    transport.write(bytes(70_000))
    assert [len(piece) for piece in wire.pieces] == [70_004]
    await turn()
    assert len(wire.pieces) == 1


async def test_what_was_written_leaves_before_the_end() -> None:
    wire = Wire()
    transport = JoiningTransport(wire, asyncio.get_running_loop())
    transport.write(b"last words")
    transport.close()
    assert (wire.pieces, wire.closed, transport.is_closing()) == ([b"last words"], True, True)


async def test_nothing_is_written_to_a_connection_that_has_gone() -> None:
    wire = Wire()
    transport = JoiningTransport(wire, asyncio.get_running_loop())
    transport.write(b"too late")
    wire.closed = True
    await turn()
    assert wire.pieces == []
