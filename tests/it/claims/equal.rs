//! Claims in runs equal claims one by one: random pending lists through the claim script and through the one it replaced.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use startjobs::redis::Value;
use startjobs::stream::claim::{Aim, Swept};
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::keys::Keys;
use startjobs::stream::{Config, Group, Member};

use super::{CLAIM_IDLE, GROUP, HOUR_MS, INTERVAL, Stream, on_every_server};
use crate::support::sweeps::by_silence;

on_every_server! {
    runs_are_claimed_as_their_entries_would_be_one_by_one
}

const LISTS: u64 = 200;
const ONE_BY_ONE: &str = include_str!("one_by_one.lua");

/// Makes a list in one call. Presences are written with it, so that all ages are of one moment.
const SETUP: &str = "
if redis.replicate_commands then redis.replicate_commands() end
local spec, time = cjson.decode(ARGV[1]), redis.call('TIME')
local jobs, attempts, replicas, group = KEYS[1], KEYS[2], KEYS[3], ARGV[2]
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('XGROUP', 'CREATE', jobs, group, '0', 'MKSTREAM')
for _, entry in ipairs(spec.entries) do
  redis.call('XADD', jobs, entry.id, 'game_id', 'g', 'image_ref', 'i')
  if entry.owner then
    redis.call('XCLAIM', jobs, group, entry.owner, 0, entry.id, 'IDLE', entry.idle, 'RETRYCOUNT', entry.count, 'FORCE',
      'JUSTID')
  end
  for name, value in pairs(entry.attempts) do redis.call('HSET', attempts, name, value) end
end
redis.call('XGROUP', 'SETID', jobs, group, spec.last)
for _, entry in ipairs(spec.entries) do if entry.deleted then redis.call('XDEL', jobs, entry.id) end end
for name, one in pairs(spec.presences) do
  redis.call('HSET', replicas, name, string.format('%.0f %s {\"born_ms\":%.0f,\"since_ms\":%.0f,\"claim_idle_ms\":60000}',
    now - one.seen, one.state, now - 3600000, now - 3600000))
end
";

/// What one sweep answered.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    state: String,
    claimed: Vec<(String, u64, u64, u64)>,
    lost: u64,
    from: BTreeSet<(String, u64)>,
    crashed: u64,
}

impl Answer {
    fn of_state(state: &str) -> Self {
        Self { state: state.to_owned(), claimed: Vec::new(), lost: 0, from: BTreeSet::new(), crashed: 0 }
    }
}

async fn runs_are_claimed_as_their_entries_would_be_one_by_one(stream: Stream) {
    let (mut claimed, mut lost, mut crashed) = (0, 0, 0);
    for seed in 0..LISTS {
        let mut random = fastrand::Rng::with_seed(seed);
        let list = list(&mut random);
        let [new, old] = ["new", "old"].map(|side| Side::of(&stream, &format!("{side}{seed}")));
        for side in [&new, &old] {
            side.set_up(&list).await;
        }
        for _ in 0..random.u8(1..4) {
            let want = [1, 2, 7, 64, 200][random.usize(..5)];
            let aim = [Aim::Take, Aim::Take, Aim::Look, Aim::Alone, Aim::Another][random.usize(..5)];
            let holds_nothing = random.bool();
            let answer = new.sweep(aim, want, holds_nothing).await;
            assert_eq!(answer, old.sweep_one_by_one(aim, want, holds_nothing, &list).await, "list {seed}, {aim:?}");
            assert_eq!(new.state(&list).await, old.state(&list).await, "list {seed}, {aim:?}");
            claimed += answer.claimed.len();
            (lost, crashed) = (lost + answer.lost, crashed + answer.crashed);
        }
    }
    let calls = stream.redis(&["INFO", "commandstats"]).await.as_string().expect("text");
    assert!(calls.contains("cmdstat_xautoclaim"), "runs are taken");
    assert!(claimed > 1_000 && lost > 100 && crashed > 500, "{claimed} claimed, {lost} lost, {crashed} crashes");
}

/// A list as the setup takes it, with runs of one owner and single entries, some of them deleted, settled or suspect.
fn list(random: &mut fastrand::Rng) -> serde_json::Value {
    let owners = ["alive", "dead", "dead too", "long dead", "left", "unknown", "me"];
    let length = [3, 20, 60, 120][random.usize(..4)];
    let stays = [0.0, 0.5, 0.9, 0.98][random.usize(..4)];
    let [settled, deleted, suspect] =
        [[0.0, 0.1, 0.5], [0.0, 0.05, 0.4], [0.0, 0.05, 0.3]].map(|p| p[random.usize(..3)]);
    let mut ms: u64 = 1_700_000_000_000;
    let (mut owner, mut idle) = ("dead", 200_000);
    let mut entries = Vec::new();
    for number in 0..length {
        ms += [0, 0, 1, 4_000_000][random.usize(..4)];
        if random.f64() >= stays {
            owner = owners[random.usize(..owners.len())];
            idle = [random.i64(0..20_000), 200_000 + random.i64(0..50_000), HOUR_MS + random.i64(0..1_000_000)]
                [random.usize(..3)];
        }
        let id = format!("{ms}-{number}");
        let crashes = if random.f64() < suspect { random.u8(2..5) } else { random.u8(..2) };
        let mut attempts = serde_json::Map::new();
        if crashes > 0 {
            attempts.insert(id.clone(), format!("{crashes} {} 0", random.u8(..3)).into());
            if random.bool() {
                attempts.insert(format!("alone:{id}"), owner.into());
            }
            if random.u8(..4) == 0 {
                attempts.insert(format!("excused:{id}"), random.u8(1..11).to_string().into());
            }
        }
        let mut entry = json!({
            "id": id,
            "idle": idle,
            "count": random.u8(1..4),
            "deleted": random.f64() < deleted,
            "attempts": attempts,
        });
        if random.f64() >= settled {
            entry["owner"] = owner.into();
        }
        entries.push(entry);
    }
    let silent = |seen: u32, state: &str| json!({"seen": seen, "state": state});
    json!({
        "last": entries[length - 1]["id"],
        "entries": entries,
        "presences": {
            "me": silent(0, "running"),
            "alive": silent(1_000, "running"),
            "too": silent(2_000, "running"),
            "three": silent(2_000, if random.bool() { "running" } else { "left" }),
            "dead": silent(200_000, "running"),
            "dead too": silent(if random.bool() { 205_000 } else { 1_000_000 }, "running"),
            "long dead": silent(2_000_000, "draining"),
            "left": silent(100_000, "left"),
        },
    })
}

/// One of the two copies of a list.
struct Side<'a> {
    stream: &'a Stream,
    keys: Keys,
    member: Member,
}

impl<'a> Side<'a> {
    fn of(stream: &'a Stream, prefix: &str) -> Self {
        let own = |name: &str| format!("{prefix}:{name}");
        let settings = Config {
            jobs: own("jobs"),
            results: own("results"),
            dead: own("dead"),
            offset_key: own("mirror"),
            ..stream.settings.stream.clone()
        };
        let member = Group::new(&settings, Arc::clone(&stream.connection)).member("me");
        Self { stream, keys: Keys::new(&settings), member }
    }

    async fn set_up(&self, list: &serde_json::Value) {
        let Keys { jobs, attempts, replicas, .. } = &self.keys;
        self.stream.redis(&["EVAL", SETUP, "3", jobs, attempts, replicas, &list.to_string(), GROUP]).await;
    }

    async fn due(&self) {
        self.stream.redis(&["HSET", &self.keys.sweep, "due", "0"]).await;
    }

    async fn sweep(&self, aim: Aim, want: usize, holds_nothing: bool) -> Answer {
        self.due().await;
        let swept =
            self.member.sweep(aim, by_silence(CLAIM_IDLE, INTERVAL, want, holds_nothing)).await.expect("swept").swept;
        match swept {
            Swept::DeclaredDead => Answer::of_state("dead"),
            Swept::NotDue => Answer::of_state("not-due"),
            Swept::Found => Answer::of_state("found"),
            Swept::Suspects => Answer::of_state("suspects"),
            Swept::Done(sweep) => Answer {
                state: "swept".to_owned(),
                claimed: sweep
                    .claimed
                    .iter()
                    .map(|one| (one.id.to_string(), one.deliveries, one.crashes, one.failures))
                    .collect(),
                lost: sweep.lost,
                from: sweep.from.into_iter().collect(),
                crashed: sweep.crashed,
            },
        }
    }

    async fn sweep_one_by_one(&self, aim: Aim, want: usize, holds_nothing: bool, list: &serde_json::Value) -> Answer {
        self.due().await;
        let mut keys = self.keys.listed();
        keys.extend(self.buckets(list));
        let mode = match aim {
            Aim::Watch => "watch",
            Aim::Look => "look",
            Aim::Take => "take",
            Aim::Alone => "alone",
            Aim::Another => "another",
        };
        let (claim_idle, interval) = (CLAIM_IDLE.as_millis().to_string(), INTERVAL.as_millis().to_string());
        let (count, want) = (keys.len().to_string(), want.to_string());
        let holds_nothing = u8::from(holds_nothing).to_string();
        let mut words: Vec<&str> = vec!["EVAL", ONE_BY_ONE, &count];
        words.extend(keys.iter().map(String::as_str));
        words.extend([GROUP, "me", &claim_idle, &interval, &want, mode, "100000", &holds_nothing]);
        let reply = self.stream.redis(&words).await;
        let parts: Vec<Value> = reply.clone().convert().expect("an array");
        let state = parts[0].as_string().expect("a word");
        if state != "swept" {
            return Answer::of_state(&state);
        }
        let (_, claimed, lost, from, crashed): (String, Vec<Value>, u64, Vec<(String, u64)>, u64) =
            reply.convert().expect("a sweep");
        let claimed = claimed.into_iter().map(|one| one.convert().expect("a claim")).collect();
        Answer { state, claimed, lost, from: from.into_iter().collect(), crashed }
    }

    fn buckets(&self, list: &serde_json::Value) -> BTreeSet<String> {
        let entries = list["entries"].as_array().expect("a list");
        let id = |entry: &serde_json::Value| entry["id"].as_str().expect("an id").parse().expect("an id");
        entries.iter().map(|entry| self.keys.ledger_bucket(EntryId::ledger_hour(id(entry)))).collect()
    }

    /// All that a claim may write, but for times.
    async fn state(&self, list: &serde_json::Value) -> Vec<String> {
        let redis = self.stream;
        let pending: Vec<(String, String, i64, u64)> =
            redis.redis(&["XPENDING", &self.keys.jobs, GROUP, "-", "+", "1000"]).await.convert().expect("rows");
        let mut state: Vec<String> = pending
            .iter()
            .map(|(id, owner, idle, count)| format!("{id} {owner} {count} {}", *idle >= 100_000))
            .collect();
        let dead: Vec<(String, Vec<String>)> =
            redis.redis(&["XRANGE", &self.keys.dead, "-", "+"]).await.convert().expect("entries");
        for (_, mut fields) in dead {
            let at = fields.iter().position(|field| field == "dead_at_ms").expect("its time");
            fields.remove(at + 1);
            state.push(fields.join(" "));
        }
        for bucket in self.buckets(list) {
            let mut ids: Vec<String> = redis.redis(&["SMEMBERS", &bucket]).await.convert().expect("ids");
            ids.sort();
            state.push(ids.join(" "));
        }
        for (hash, times) in [(&self.keys.attempts, &[][..]), (&self.keys.sweep, &["due", "alone_until"])] {
            let flat: Vec<String> = redis.redis(&["HGETALL", hash]).await.convert().expect("pairs");
            let pairs = flat.chunks_exact(2).filter(|pair| !times.contains(&pair[0].as_str()));
            state.extend(pairs.map(|pair| pair.join(" ")).collect::<BTreeSet<_>>());
        }
        for key in [&self.keys.mirror, &self.keys.shadow] {
            state.push(redis.redis(&["GET", key]).await.as_string().unwrap_or_default());
        }
        let mut consumers: Vec<Vec<Value>> =
            redis.redis(&["XINFO", "CONSUMERS", &self.keys.jobs, GROUP]).await.convert().expect("consumers");
        consumers.sort_by_key(|fields| fields[1].as_string());
        state.extend(consumers.iter().map(|fields| format!("{:?} {:?}", fields[1], fields[3])));
        state
    }
}
