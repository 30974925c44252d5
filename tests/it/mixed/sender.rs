//! Lobby in bad times: each entry has an id of the sender's own and is appended until it is in the stream, so that the
//! books are right whatever becomes of the replies.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use startjobs::lobby::client::Lobby;
use startjobs::stream::entry_id::EntryId;

use super::stage::{Fate, Stage, ms};

/// The longest that one entry is tried: Redis is away for seconds only.
const TRIED_MAX: Duration = Duration::from_secs(60);
/// Games that get further jobs.
const GAMES_AGAIN: usize = 50;
/// Between two entries.
const INTERVAL_MS: std::ops::Range<u64> = 10..80;
/// The sizes of large entries.
const LARGE_MIN: usize = 256 << 10;
const LARGE_MAX: usize = 4 << 20;

struct Sender<'a> {
    stage: &'a Stage,
    lobby: &'a Lobby,
    jobs: &'a str,
    last: (u64, u64),
    games: Vec<String>,
    tried_again: usize,
}

/// One entry to be sent.
struct Draft {
    fields: Vec<(&'static str, String)>,
    fate: Fate,
}

/// Sends until the time for faults is over; answers how many appends were tried again.
pub(super) async fn send(stage: &Stage, lobby: &Lobby, jobs: &str, mut random: fastrand::Rng) -> usize {
    let mut sender = Sender { stage, lobby, jobs, last: (0, 0), games: Vec::new(), tried_again: 0 };
    let (mut next_large, mut next_killer) = (Instant::now(), Instant::now());
    let mut number = 0;
    while !stage.is_over() {
        let mut draft = sender.draw(number, &mut random);
        if Instant::now() >= next_killer && stage.may_kill() {
            next_killer = Instant::now() + ms(&mut random, 45_000..90_000);
            draft = job(format!("kills-{number}"), "sim/abort", Fate::Kills);
            stage.fault("job that kills its process", "");
        } else if Instant::now() >= next_large && draft.fate == Fate::Starts {
            next_large = Instant::now() + ms(&mut random, 1_500..7_000);
            // Each doubling as often as the next.
            let size = (LARGE_MIN << random.u32(0..5)) + random.usize(0..LARGE_MIN);
            draft.fields.push(("blob", "x".repeat(size.min(LARGE_MAX))));
            draft.fate = Fate::StartsLarge;
        }
        sender.append(draft).await;
        number += 1;
        stage.sleep(ms(&mut random, INTERVAL_MS)).await;
    }
    sender.tried_again
}

fn job(game: String, image: &str, fate: Fate) -> Draft {
    let fields = vec![("game_id", game), ("image_ref", image.to_owned()), ("requested_at_ms", "17".to_owned())];
    Draft { fields, fate }
}

impl Sender<'_> {
    fn draw(&mut self, number: usize, random: &mut fastrand::Rng) -> Draft {
        let own = format!("own-{number}");
        match random.u8(0..100) {
            0..15 if !self.games.is_empty() => {
                let recent = self.games.len().saturating_sub(GAMES_AGAIN);
                job(self.games[random.usize(recent..self.games.len())].clone(), "galaxy/engine:1", Fate::Starts)
            }
            15..20 => job(own, &format!("sim/slow:{}ms", random.u32(100..1_000)), Fate::Starts),
            20..24 => job(own, "sim/missing", Fate::Missing),
            24..28 => job(own, "sim/exit", Fate::Exits),
            28..31 => job(own, "sim/retry", Fate::Retries),
            31..35 => {
                let fields = match random.u8(0..3) {
                    0 => vec![("game_id", own), ("image_ref", " ".to_owned())],
                    1 => vec![("image_ref", "galaxy/engine:1".to_owned())],
                    _ => [
                        job(own, "galaxy/engine:1", Fate::Malformed).fields[..2].to_vec(),
                        vec![("requested_at_ms", "soon".to_owned())],
                    ]
                    .concat(),
                };
                Draft { fields, fate: Fate::Malformed }
            }
            _ => {
                let game = format!("game-{number}");
                self.games.push(game.clone());
                job(game, "galaxy/engine:1", Fate::Starts)
            }
        }
    }

    /// The next id: the clock's, and never one that is not above the last.
    fn next_id(&mut self) -> EntryId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
        let now = u64::try_from(now).expect("milliseconds of this age");
        self.last = if now > self.last.0 { (now, 0) } else { (self.last.0, self.last.1 + 1) };
        format!("{}-{}", self.last.0, self.last.1).parse().expect("an id")
    }

    async fn append(&mut self, Draft { fields, fate }: Draft) {
        let id = self.next_id();
        let text = id.to_string();
        let words = ["XADD", self.jobs, &text].into_iter();
        let words: Vec<&str> = words.chain(fields.iter().flat_map(|(name, value)| [*name, value.as_str()])).collect();
        let began = Instant::now();
        while let Err(error) = self.lobby.connection().raw(&words).await {
            // An earlier try may have come through without its reply.
            if error.text.contains("equal or smaller") && self.is_there(&text).await {
                break;
            }
            assert!(began.elapsed() < TRIED_MAX, "seed {}: {text} is not accepted: {error}", self.stage.seed);
            self.tried_again += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.stage.books.borrow_mut().push((id, fate));
    }

    async fn is_there(&self, id: &str) -> bool {
        // Of a large one the reply is large too; it is asked for again with the next try.
        let reply = self.lobby.connection().raw(&["XRANGE", self.jobs, id, id]).await;
        reply.and_then(startjobs::redis::Value::into_list).is_ok_and(|entries| !entries.is_empty())
    }
}
