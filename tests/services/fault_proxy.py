"""A TCP proxy on loopback that cuts, refuses, hangs and throttles, as it is told while it runs."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_READ_BYTES = 16384
_POLL_SECONDS = 0.02


@dataclass
class Faults:
    """What happens to connections from now on; `passed` counts bytes towards the server."""

    port: int = 0
    refuse: bool = False
    hang: bool = False
    # Every second connection is cut after so many bytes, both ways together.
    cut_after: int | None = None
    connections: int = 0
    # These answers never arrive, counted from 0: the connection is cut when they begin.
    lose: frozenset[int] = frozenset()
    answers: int = 0
    bytes_per_second: float | None = None
    passed: int = 0

    @property
    def url(self) -> str:
        """Where to connect to."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def fault_proxy(target_port: int) -> Iterator[Faults]:
    """Run a proxy in front of a port while inside."""
    faults, ready = Faults(), threading.Event()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(_Proxy(faults, target_port).connect, "127.0.0.1", 0)
        faults.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ended.wait()
        server.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield faults
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


class _Proxy:
    def __init__(self, faults: Faults, target_port: int) -> None:
        self.faults, self.target_port = faults, target_port

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end, or cut it."""
        if self.faults.refuse:
            writer.transport.abort()
            return
        self.faults.connections += 1
        cut = self.faults.connections % 2 == 1
        onward = await asyncio.open_connection("127.0.0.1", self.target_port)
        ends = (writer.transport, onward[1].transport)
        carried = [0]
        ways = (
            self._carry(reader, onward[1], carried, is_answer=False, cut=cut),
            self._carry(onward[0], writer, carried, is_answer=True, cut=cut),
        )
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for end in ends:
                end.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        carried: list[int],
        *,
        is_answer: bool,
        cut: bool,
    ) -> None:
        """Until it ends or is to be cut."""
        faults = self.faults
        try:
            while data := await reader.read(_READ_BYTES):
                while faults.hang:
                    await asyncio.sleep(_POLL_SECONDS)
                if is_answer and _begins_answer(data):
                    faults.answers += 1
                    if faults.answers - 1 in faults.lose:
                        return
                carried[0] += len(data)
                if faults.refuse or (cut and faults.cut_after and carried[0] > faults.cut_after):
                    return
                if faults.bytes_per_second:
                    await asyncio.sleep(len(data) / faults.bytes_per_second)
                faults.passed += 0 if is_answer else len(data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return


def _begins_answer(data: bytes) -> bool:
    """Whether it is the head of an answer, and not of the "100 Continue" before one."""
    return data.startswith(b"HTTP/") and b" 100 " not in data[:13]
