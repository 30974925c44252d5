//! A backlog: entries appended while no replica reads, as fast as Redis takes them.

use std::io;

use tokio::task::yield_now;

use crate::bench::rig::wire::Wire;

/// Entries of one write; the next is sent before the replies of this one are read.
const CHUNK: u64 = 500;

/// Appends `count` well-formed jobs, each of a game of its own. Other tasks of this thread run between two writes: filling
/// takes seconds, and the kills that are measured beside it must not wait for it.
pub(crate) async fn fill(
    wire: &mut Wire,
    stream: &str,
    count: u64,
    image: &str,
    requested_at_ms: u64,
) -> io::Result<()> {
    let requested = requested_at_ms.to_string();
    let (mut sent, mut taken) = (0, 0);
    while taken < count {
        if sent < count && sent - taken < 2 * CHUNK {
            let next = (sent + CHUNK).min(count);
            for number in sent..next {
                let game = format!("bench-{number}");
                wire.sender.command(&[
                    b"XADD",
                    stream.as_bytes(),
                    b"*",
                    b"game_id",
                    game.as_bytes(),
                    b"image_ref",
                    image.as_bytes(),
                    b"requested_at_ms",
                    requested.as_bytes(),
                ]);
            }
            wire.sender.flush()?;
            sent = next;
            continue;
        }
        let until = (taken + CHUNK).min(sent);
        while taken < until {
            wire.receiver.skip()?;
            taken += 1;
        }
        wire.receiver.forget();
        yield_now().await;
    }
    Ok(())
}
