"""A worker on taskiq-redis: the backlog goes into a stream of taskiq's own, and each task publishes one outcome."""

import asyncio
import sys

from redis.asyncio import Redis
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from outcome import JOBS, RESULTS, URL, outcome

PAGE = 500

broker = RedisStreamBroker(URL, queue_name=f"{JOBS}:taskiq", consumer_id="0", xread_count=100)
redis = Redis.from_url(URL, decode_responses=True)


@broker.task
async def start(source_ref: str, game_id: str, requested_at_ms: str) -> None:
    """Starts nothing."""
    await redis.xadd(RESULTS, outcome(source_ref, game_id, requested_at_ms))


async def fill() -> None:
    """Takes the backlog over."""
    await broker.startup()
    first = "-"
    while page := await redis.xrange(JOBS, first, "+", PAGE):
        await asyncio.gather(
            *(start.kiq(entry, fields["game_id"], fields["requested_at_ms"]) for entry, fields in page)
        )
        first = f"({page[-1][0]}"
    await broker.shutdown()


async def run() -> None:
    """Answers until it is killed."""
    broker.is_worker_process = True
    await run_receiver_task(broker, run_startup=True)


asyncio.run(fill() if sys.argv[1] == "fill" else run())
