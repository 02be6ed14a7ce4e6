"""Agents whose earlier connections still subscribe to their channel and never read.

Redis counts them as receivers. Such an agent asks one question after the other in one session, and
receives each answer as if it were alone.
"""

from __future__ import annotations

import asyncio
import socket
import time

from tests.chaos.asking import prepare, write
from tests.chaos.history import Fate
from tests.chaos.listening import listen
from tests.chaos.world import World

_FATES = {Fate.DECIDE: 75, Fate.LISTED: 25}
# In times of what people think, as elsewhere.
_WAIT = 15


async def agent(world: World, number: int) -> None:
    """Ask several times in one session, each time after the answer before."""
    rng = world.random(f"deserted {number}")
    session_id = f"deserted-{world.label}-{number}"
    dead: list[socket.socket] = []
    try:
        for turn in range(1, rng.randint(3, 6) + 1):
            if not dead or rng.random() < 0.3:
                await _desert(world, session_id, dead)
            fate = rng.choices(list(_FATES), list(_FATES.values()))[0]
            asking = prepare(world, number, session_id, turn, fate, rng)
            asking.question.is_channel_shared = True
            await write(world, asking)
            # The signal is repeated for 10 s whoever receives it: no agent subscribes later here.
            delays = (0.0, rng.uniform(0, 0.03), rng.uniform(0, 1), rng.uniform(0, 4))
            await world.sleep(rng.choice(delays))
            if not await listen(world, asking.listening, _WAIT * world.patience):
                asking.listening.abandoned_at = time.time()
                return
            if world.is_closing:
                return
            await world.sleep(rng.choice((0.0, rng.uniform(0, 0.05), rng.uniform(0, 2))))
    finally:
        for connection in dead:
            connection.close()


async def _desert(world: World, session_id: str, dead: list[socket.socket]) -> None:
    """Add a connection to `dead` that subscribes and is never read, if Redis can be reached."""
    connection = socket.socket()
    connection.setblocking(False)
    loop, address = asyncio.get_running_loop(), ("127.0.0.1", world.cluster.redis_port)
    try:
        async with asyncio.timeout(2):
            await loop.sock_connect(connection, address)
            await loop.sock_sendall(connection, f"SUBSCRIBE hitl:channel:{session_id}\r\n".encode())
    except (OSError, TimeoutError):
        connection.close()
    else:
        dead.append(connection)
