"""A worker on FastStream: reads the jobs stream itself through the group, and publishes one outcome for each entry."""

import asyncio
import sys

from faststream import FastStream
from faststream.redis import RedisBroker, RedisStreamMessage, StreamSub
from redis.asyncio import Redis

from outcome import GROUP, JOBS, RESULTS, URL, outcome

broker = RedisBroker(URL, logger=None)
redis = Redis.from_url(URL, decode_responses=True)


@broker.subscriber(stream=StreamSub(JOBS, group=GROUP, consumer="peer", max_records=100), max_workers=50)
async def start(message: RedisStreamMessage) -> None:
    """Starts nothing."""
    [entry] = message.raw_message["message_ids"]
    fields = message.raw_message["data"]
    game_id, requested = fields[b"game_id"].decode(), fields[b"requested_at_ms"].decode()
    await redis.xadd(RESULTS, outcome(entry.decode(), game_id, requested))


if sys.argv[1] == "run":
    asyncio.run(FastStream(broker, logger=None).run())
