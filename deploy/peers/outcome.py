"""What the peers in Python share: where things are, and the outcome of a start that does nothing."""

import os
import time

URL = os.environ["STARTJOBS_REDIS_URL"]
JOBS = os.environ["STARTJOBS_JOBS_STREAM"]
RESULTS = os.environ["STARTJOBS_RESULTS_STREAM"]
# Made by the bench.
GROUP = "rtmanager.startjobs"


def outcome(source_ref: str, game_id: str, requested_at_ms: str) -> dict[str, str]:
    """The ten fields of an outcome."""
    return {
        "game_id": game_id,
        "outcome": "success",
        "container_id": "9f3c0000000000000000000000000000000000000000000000000000000000aa",
        "engine_endpoint": f"http://rtm-{game_id}:8080",
        "error_code": "",
        "error_message": "",
        "source_ref": source_ref,
        "requested_at_ms": requested_at_ms,
        "finished_at_ms": str(int(time.time() * 1000)),
        "attempt": "1",
    }
