//! Every key that a script touches stands in its KEYS: a Cluster whose slot moves refuses any other one, and that may be
//! after the script's first write.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;
use startjobs::audit::{Options, Since, audit};
use startjobs::redis::{Connection, Role};
use startjobs::start::game_id::GameId;
use startjobs::start::record::{Action, Here, Records};

use crate::support::world::{PATIENCE, World};

/// What a server says that it runs: each script with its keys, and each command within it.
pub struct Watch {
    lines: Receiver<String>,
}

/// What was seen of scripts.
#[derive(Debug, Default)]
pub struct Seen {
    /// Keys that scripts have touched.
    pub touched: BTreeSet<String>,
    /// Keys that a script has touched without having named them, and by which command.
    pub undeclared: BTreeSet<String>,
    /// What scripts called, in order.
    pub commands: Vec<Vec<String>>,
}

impl Watch {
    /// From now on.
    pub fn begin(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.write_all(b"MONITOR\r\n").expect("sent");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("an answer");
        assert_eq!(line.trim(), "+OK");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the server, or with the watch.
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines }
    }

    /// What was seen so far.
    pub async fn end(self, connection: &Connection) -> Seen {
        let mark = "the watch ends here";
        connection.raw(&["ECHO", mark]).await.expect("an answer");
        let (mut seen, mut declared) = (Seen::default(), BTreeSet::new());
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the mark comes");
            let (from, words) = taken_apart(&line);
            let verb = words.first().map(|word| word.to_lowercase()).unwrap_or_default();
            if words.last().is_some_and(|word| word == mark) {
                return seen;
            }
            if from != "lua" && (verb == "evalsha" || verb == "eval") {
                let count: usize = words[2].parse().expect("the number of keys");
                declared = words[3..3 + count].iter().cloned().collect();
            } else if from == "lua" {
                for key in keys_of(connection, &words).await {
                    if !declared.contains(&key) {
                        seen.undeclared.insert(format!("{verb} {key}"));
                    }
                    seen.touched.insert(key);
                }
                seen.commands.push(words);
            }
        }
    }
}

/// Which of these words the server takes for keys.
async fn keys_of(connection: &Connection, words: &[String]) -> Vec<String> {
    let ask: Vec<&str> = ["COMMAND", "GETKEYS"].into_iter().chain(words.iter().map(String::as_str)).collect();
    // An error says that the command has none.
    connection.raw(&ask).await.map_or_else(|_| Vec::new(), |reply| reply.convert().expect("names"))
}

/// `+<time> [<db> <from>] "word" "word"`, with what cannot be printed as `\x..`.
fn taken_apart(line: &str) -> (&str, Vec<String>) {
    let Some((head, rest)) = line.split_once("] ") else { return ("", Vec::new()) };
    let from = head.rsplit(' ').next().unwrap_or_default();
    let (mut words, mut word, mut is_within) = (Vec::new(), Vec::new(), false);
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if is_within => {
                words.push(String::from_utf8_lossy(&std::mem::take(&mut word)).into_owned());
                is_within = false;
            }
            b'"' => is_within = true,
            b'\\' => match bytes.next() {
                Some(b'x') => {
                    let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                    word.push(u8::from_str_radix(&digits, 16).expect("two digits"));
                }
                Some(b'n') => word.push(b'\n'),
                Some(b'r') => word.push(b'\r'),
                Some(b't') => word.push(b'\t'),
                Some(other) => word.push(other),
                None => {}
            },
            other if is_within => word.push(other),
            _ => {}
        }
    }
    (from, words)
}

#[test]
fn what_a_server_says_is_taken_apart() {
    let line = r#"+17.5 [0 127.0.0.1:6] "set" "a \"b\"" "\x00\xff\\\n" """#;
    let words = ["set", "a \"b\"", "\u{0}\u{fffd}\\\n", ""].map(str::to_owned).to_vec();
    assert_eq!(taken_apart(line), ("127.0.0.1:6", words));
    assert_eq!(taken_apart("+17.5 [0 lua] \"TIME\""), ("lua", vec!["TIME".to_owned()]));
}

#[tokio::test]
async fn a_key_that_a_script_does_not_name_is_seen() {
    let world = World::new().await;
    let watch = Watch::begin(world.redis.port());
    let script = "redis.call('SET', KEYS[1], '1') redis.pcall('XADD', KEYS[1] .. '{x}', '*', 'a', 'b')";
    world.redis(&["EVAL", script, "1", "named"]).await;
    let seen = watch.end(world.lobby.connection()).await;
    assert_eq!(seen.undeclared, ["xadd named{x}".to_owned()].into());
    assert_eq!(seen.touched, ["named".to_owned(), "named{x}".to_owned()].into());
}

#[tokio::test]
async fn what_starts_games_names_every_key_it_touches() {
    let mut world = World::with(&[("retry-attempts", "2"), ("slots", "4")]).await;
    let watch = Watch::begin(world.redis.port());
    for _ in 0..2 {
        let replica = world.replica(&[]);
        world.begun(replica).await;
    }
    // Found running, in conflict, made anew; an answer that moves aside, one that is given up, a container that goes.
    for image in ["galaxy/engine:1", "galaxy/engine:1", "galaxy/engine:2"] {
        world.send("game", image).await;
        world.settled().await;
    }
    world.remove_container("game").await;
    for (game, image) in [("game", "galaxy/engine:2"), ("exits", "sim/exit"), ("errs", "sim/retry")] {
        world.send(game, image).await;
        world.settled().await;
        world.send(game, "galaxy/engine:1").await;
        world.settled().await;
    }
    world.at_rest().await;
    let connection = world.lobby.connection();
    let game = GameId::parse("game").expect("an id");
    let lease = Duration::from_secs(1);
    let records = Records::new(connection_of(&world).await, "rtm:", ("jobs", "group"), "another", lease);
    records.reap(&game, "stray", ("1", "another"), &Here::new("default", []), Action::Condemn).await.expect("asked");
    records.probe().await.expect("asked");

    let seen = watch.end(connection).await;
    assert_eq!(seen.undeclared, BTreeSet::new());
    for key in ["rtm:{game}:rec", "rtm:{game}:res", "rtm:{errs}:res", "rtm:sim:{rtm-game}", "rtm:sim:log", "rtm:probe"]
    {
        assert!(seen.touched.contains(key), "nothing touched {key}: {:?}", seen.touched);
    }
}

#[tokio::test]
async fn what_takes_entries_over_and_tidies_names_every_key_it_touches() {
    // So long that a death is noticed by its connection, on a busy machine too.
    let idle = ("claim-idle", "6s");
    let settings = [("slots", "8"), ("janitor-interval", "200ms"), ("simulated-latency", "20ms..60ms"), idle];
    let mut world = World::with(&settings).await;
    let watch = Watch::begin(world.redis.port());
    let holder = world.replica(&[("simulated-latency", "60s")]);
    world.begun(holder).await;
    world.send_games("held", 6).await;
    world.send_malformed().await;
    world.held(6).await;
    for _ in 0..2 {
        let replica = world.replica(&[]);
        world.begun(replica).await;
    }
    // Claimed, made anew, put back by its owner and by the janitor, handed back.
    world.fleet.replica(holder).process().kill();
    world.send("errs", "sim/retry").await;
    world.settled().await;
    let (jobs, group) = (world.settings.stream.jobs.clone(), world.settings.stream.group.clone());
    world.send_games("slow", 4).await;
    world.redis(&["XGROUP", "DESTROY", &jobs, &group]).await;
    world.settled().await;
    world.send("deleted", "sim/slow:1s").await;
    world.held(1).await;
    let consumer = world.lobby.pending().await.expect("the group is there").remove(0).consumer;
    world.redis(&["XGROUP", "DELCONSUMER", &jobs, &group, &consumer]).await;
    world.settled().await;
    world.signal(1, Signal::TERM);
    world.ended(1, PATIENCE).await;
    world.at_rest().await;

    let seen = watch.end(world.lobby.connection()).await;
    assert_eq!(seen.undeclared, BTreeSet::new());
    for key in ["", ":attempts", ":sweep", ":replicas", ":verified", ":ledgers", ":dead"] {
        assert!(seen.touched.contains(&format!("{jobs}{key}")), "nothing touched {jobs}{key}: {:?}", seen.touched);
    }
    assert!(seen.touched.iter().any(|key| key.starts_with(&format!("{jobs}:ledger:"))), "{:?}", seen.touched);
    // The killed one was declared dead.
    assert!(seen.commands.iter().any(|words| words.iter().any(|word| word.contains(" dead {\"died_ms\":"))));
}

#[tokio::test]
async fn an_audit_names_every_key_it_touches() {
    let world = World::new().await;
    world.create_group().await;
    let startjobs::stream::Config { jobs, group, .. } = &world.settings.stream;
    let hours = [1_u64, 2, 400_000];
    for hour in hours {
        let id = format!("{}-0", hour * 3_600_000);
        world.redis(&["XADD", jobs, &id, "game_id", "game", "image_ref", "image", "requested_at_ms", "0"]).await;
        // Settled, so that the look for the oldest entry that is not goes on to the next.
        world.redis(&["SADD", &format!("{jobs}:ledger:{hour}"), &id]).await;
    }
    world.redis(&["XREADGROUP", "GROUP", group, "gone", "STREAMS", jobs, ">"]).await;
    let watch = Watch::begin(world.redis.port());
    let options = Options { since: Since::Ledger, stuck_after: Duration::from_secs(60), list_max: 1 };
    audit(&world.settings, &options).await.expect("Redis answers");

    let seen = watch.end(world.lobby.connection()).await;
    assert_eq!(seen.undeclared, BTreeSet::new());
    for hour in hours {
        let bucket = format!("{jobs}:ledger:{hour}");
        assert!(seen.touched.contains(&bucket), "nothing touched {bucket}: {:?}", seen.touched);
    }
}

async fn connection_of(world: &World) -> Arc<Connection> {
    let opened = Connection::open(&world.settings.redis, Role::Commands, "startjobs:test", |_| {}).await;
    Arc::new(opened.expect("a connection"))
}
