//! Back-off, deadlines, suspects and crash counts, and an engine that is down for one replica alone.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::{ATTEMPTS, GROUP, JOBS, begins, group_field, in_hand, said_once, send, sum, watched};
use crate::support::world::{PATIENCE, World};

#[tokio::test]
async fn an_entry_that_backs_off_is_renewed_and_its_slot_is_free_for_others() {
    let settings =
        [("slots", "1"), ("retry-min", "10s"), ("retry-max", "10s"), ("retry-attempts", "2"), ("claim-idle", "2s")];
    let mut world = World::with(&settings).await;
    let replicas = [watched(&mut world, &[]).await, watched(&mut world, &[]).await];
    let retried = world.send("retried", "sim/retry").await;
    world.eventually("it backs off", async |_: &World| sum(&replicas, "startjobs_backing_off") > 0.5).await;
    let owner = in_hand(&world).await[0].consumer.clone();
    // They are answered long before it is tried again, on a busy machine too.
    send(&mut world, "other", 30).await;
    let mut looks = 0;
    while world.account().await.lost.len() > 1 {
        let pending = in_hand(&world).await;
        let entry = pending.iter().find(|entry| entry.id == retried.to_string()).expect("it is still pending");
        assert_eq!((&entry.consumer, entry.deliveries), (&owner, 1), "it changed hands");
        assert!(entry.idle_ms < 2_000, "it is not renewed: {entry:?}");
        looks += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(looks > 2, "the others were not watched");
    assert_eq!(world.account().await.lost, [retried.to_string()], "the others did not wait for it");
    let account = world.settled().await;
    assert_eq!(account.outcomes.get("started"), Some(&30), "{account:?}");
    let letters = world.lobby.all_dead().await.expect("dead letters");
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "retries_exhausted"));
    assert_ne!(world.outcome(retried).await.get("error_code"), "");
    assert!((sum(&replicas, "startjobs_retries_total{counted=\"yes\"}") - 1.0).abs() < 0.5);
    assert!((sum(&replicas, "startjobs_dead_letters_total{reason=\"retries_exhausted\"}") - 1.0).abs() < 0.5);
    world.at_rest().await;
}

#[tokio::test]
async fn too_many_entries_that_back_off_stop_the_reading_and_no_more() {
    let settings =
        [("slots", "4"), ("max-backing-off", "6"), ("retry-min", "2s"), ("retry-max", "2s"), ("retry-attempts", "2")];
    let mut world = World::with(&settings).await;
    let replica = watched(&mut world, &[]).await;
    for number in 0..30 {
        world.send(&format!("retried-{number}"), "sim/retry").await;
    }
    world.eventually("they back off", async |_: &World| replica.metric("startjobs_backing_off") >= 6.0).await;
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        // One read may have been under way for each slot when the sixth began to back off.
        let held = in_hand(&world).await.len();
        assert!(held <= 6 - 1 + 4, "{held} entries in hand");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let unread = group_field(&world, "lag").await;
    assert_ne!(unread.as_deref(), Some("0"), "everything was read");
    // When they are given up, reading goes on: everything is answered.
    let account = world.settled().await;
    assert_eq!(account.outcomes.values().sum::<usize>(), 30, "{account:?}");
    assert_eq!(world.lobby.all_dead().await.expect("dead letters").len(), 30);
    world.at_rest().await;
}

#[tokio::test]
async fn a_job_that_was_asked_for_too_long_ago_is_answered_and_not_started() {
    let mut world = World::with(&[("start-deadline", "1m")]).await;
    let replica = watched(&mut world, &[]).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let ms = |time: Duration| time.as_millis().to_string();
    let mut sent = Vec::new();
    for (game, requested) in
        [("late", ms(now.saturating_sub(Duration::from_mins(2)))), ("fresh", ms(now)), ("timeless", "0".to_owned())]
    {
        let fields = [("game_id", game), ("image_ref", "galaxy/engine:1"), ("requested_at_ms", requested.as_str())];
        sent.push(world.send_fields(&fields, startjobs::lobby::accounting::Sent::Job).await);
    }
    world.settled().await;
    world.at_rest().await;
    let late = world.outcome(sent[0]).await;
    assert_eq!((late.get("outcome"), late.get("error_code")), ("failure", "start_deadline_exceeded"));
    for job in &sent[1..] {
        assert_eq!(world.outcome(*job).await.get("outcome"), "success");
    }
    assert!(world.sim_log().await.created("late").is_empty(), "it was started all the same");
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty());
    let counter = "startjobs_outcomes_total{outcome=\"failure\",error_code=\"start_deadline_exceeded\"}";
    assert!((replica.metric(counter) - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn crash_counts_survive_a_lost_group() {
    let mut world = World::with(&[("crash-budget", "1")]).await;
    let poison = world.send("p", "sim/abort").await.to_string();
    for _ in 0..2 {
        let replica = world.replica(&[]);
        world.killed(replica).await;
    }
    // The second process had it from the first, which is one crash; it died with it before anybody could count that.
    let counts = world.redis(&["HGET", ATTEMPTS, &poison]).await.as_string();
    assert_eq!(counts.as_deref(), Some("1 0 0"));
    world.redis(&["XGROUP", "DESTROY", JOBS, GROUP]).await;
    // It is delivered as new, and its one crash is remembered: one more, and nobody runs it again.
    let third = world.replica(&[]);
    world.killed(third).await;
    let fourth = watched(&mut world, &[]).await;
    let account = world.settled().await;
    assert_eq!(account.outcomes.get("poison"), Some(&1), "{account:?}");
    let letters = world.entries(&world.settings.stream.dead).await;
    assert_eq!((letters.len(), letters[0].get("reason"), letters[0].get("crashes")), (1, "poison", "2"), "{letters:?}");
    assert!((fourth.metric("startjobs_dead_letters_total{reason=\"poison\"}") - 1.0).abs() < 0.5);
    let is_forgotten = async |world: &World| world.redis(&["EXISTS", ATTEMPTS]).await.as_i64() == Some(0);
    world.eventually("what is settled is not remembered", is_forgotten).await;
    world.at_rest().await;
}

#[tokio::test]
async fn while_a_suspect_runs_alone_its_process_holds_nothing_else() {
    let mut world = World::with(&[("slots", "8"), ("simulated-latency", "50ms..150ms")]).await;
    let suspect = world.send("suspect", "sim/slow:6s").await.to_string();
    // What two crashes leave behind.
    world.redis(&["HSET", ATTEMPTS, &suspect, "2 0 0"]).await;
    let replicas = [watched(&mut world, &[]).await, watched(&mut world, &[]).await];
    send(&mut world, "other", 30).await;
    let (began, mut seen, mut others, mut number) = (Instant::now(), 0, 0, 0);
    while !world.account().await.lost.is_empty() || seen == 0 {
        assert!(began.elapsed() < PATIENCE, "{}", world.logs());
        // The load goes on, so that there is always something else to take.
        if world.account().await.lost.contains(&suspect) && world.account().await.lost.len() < 12 {
            number += 1;
            send(&mut world, &format!("more-{number}"), 10).await;
        }
        let alone = replicas.iter().any(|replica| replica.metric("startjobs_suspects_total") > 0.5);
        let pending = in_hand(&world).await;
        if let Some(entry) = pending.iter().find(|entry| entry.id == suspect)
            && alone
        {
            let beside = pending.iter().filter(|other| other.consumer == entry.consumer && other.id != suspect).count();
            assert_eq!(beside, 0, "held beside the suspect: {pending:?}");
            seen += 1;
            others += pending.len() - 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(seen > 2, "the suspect was seen alone {seen} times only");
    assert!(others > 0, "the other replica did not work meanwhile");
    assert!((sum(&replicas, "startjobs_suspects_total") - 1.0).abs() < 0.5);
    let account = world.settled().await;
    assert!(!account.outcomes.contains_key("poison"), "{account:?}");
    world.at_rest().await;
}

/// A Docker Engine as far as a replica notices while it starts: it says that it is there and which host it is, and hangs on
/// everything else.
struct Engine {
    path: PathBuf,
    up: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    waiting: Arc<Mutex<Vec<UnixStream>>>,
}

impl Engine {
    fn start(path: &Path) -> Self {
        let engine = Self { path: path.to_owned(), up: Arc::default(), asked: Arc::default(), waiting: Arc::default() };
        engine.come();
        engine
    }

    fn come(&self) {
        std::fs::remove_file(&self.path).ok();
        let listener = UnixListener::bind(&self.path).expect("a socket");
        listener.set_nonblocking(true).expect("a socket that does not wait");
        self.up.store(true, Ordering::SeqCst);
        let (up, asked, waiting) = (Arc::clone(&self.up), Arc::clone(&self.asked), Arc::clone(&self.waiting));
        std::thread::spawn(move || {
            while up.load(Ordering::SeqCst) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let mut request = [0; 4_096];
                let read = stream.set_nonblocking(false).and_then(|()| stream.read(&mut request)).unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..read]).into_owned();
                if let Some(answer) = answer(text.split(' ').nth(1).unwrap_or_default()) {
                    stream.write_all(answer.as_bytes()).ok();
                } else {
                    asked.fetch_add(1, Ordering::SeqCst);
                    waiting.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                }
            }
        });
    }

    /// Gone: what waited is cut, and nobody listens.
    fn go(&self) {
        self.up.store(false, Ordering::SeqCst);
        std::fs::remove_file(&self.path).ok();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.go();
    }
}

/// What it answers: that it is there, and which host it is. Everything else waits.
fn answer(path: &str) -> Option<String> {
    let version = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
    let volume = concat!(
        r#"{"Name":"rtm-engine","Driver":"local","Mountpoint":"/v","Labels":{"rtm.engine":"a-key"},"Scope":"local","#,
        r#""Options":{}}"#
    );
    let body = match path {
        _ if path.contains("/_ping") => "OK",
        _ if path.contains("/version") => version,
        _ if path.contains("/volumes?") => r#"{"Volumes":[]}"#,
        _ if path.contains("/volumes") => volume,
        _ if path.contains("/containers/json") => "[]",
        _ => return None,
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nApi-Version: 1.41\r\nConnection: close";
    Some(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

#[tokio::test]
async fn a_replica_whose_own_engine_is_down_gives_everything_back_to_healthy_ones() {
    // Each has an engine of its own, and so is a host: what had begun on the one goes to the other when that is dead.
    let mut world = World::with(&[("slots", "4"), ("host-heartbeat", "1s")]).await;
    let engine = Engine::start(&world.directory.path().join("docker.sock"));
    let host = format!("unix://{}", engine.path.display());
    let ill = watched(&mut world, &[("engine", "docker"), ("docker-host", &host)]).await;
    // Two games have four jobs each, so that some wait unstarted; all of them are with the only replica there is.
    for number in 0..4 {
        world.send(&format!("game-{}", number % 2), "galaxy/engine:1").await;
    }
    world.eventually("it holds all", async |world: &World| in_hand(world).await.len() == 4).await;
    world.eventually("it asks its engine", async |_: &World| engine.asked.load(Ordering::SeqCst) >= 2).await;
    let healthy = watched(&mut world, &[]).await;
    engine.go();
    begins(&mut world, &[ill], "engine").await;
    send(&mut world, "later", 40).await;
    world.settled().await;
    world.at_rest().await;
    world.logged(healthy.number, "all outcomes", |log| log.processed().len() == 44).await;
    assert!(ill.metric("startjobs_entries_handed_back_total") >= 2.0);
    assert!(ill.metric("startjobs_held").abs() < 0.5, "it keeps something");
    let (status, why) = crate::support::scrape::get(ill.port, "/readyz").expect("it answers");
    assert!(status == 503 && why.contains("engine"), "{status} {why}");
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty());
    engine.come();
    said_once(&mut world, &[ill, healthy], &["engine"]).await;
    let (status, why) = crate::support::scrape::get(ill.port, "/readyz").expect("it answers");
    assert_eq!(status, 200, "{why}");
}

#[tokio::test]
async fn a_replica_that_stood_still_learns_that_its_entries_are_anothers() {
    let mut world = World::with(&[]).await;
    // It goes on with what it had begun, and whoever has the entry then waits for that: the answer is the same.
    let first = watched(&mut world, &[("simulated-latency", "4s")]).await;
    send(&mut world, "g", 5).await;
    world.eventually("all are held", async |world: &World| in_hand(world).await.len() == 5).await;
    let of_first = in_hand(&world).await[0].consumer.clone();
    let second = watched(&mut world, &[("simulated-latency", "3s")]).await;
    world.signal(first.number, Signal::STOP);
    world
        .eventually("the second has them", async |world: &World| {
            in_hand(world).await.iter().filter(|entry| entry.consumer != of_first).count() == 5
        })
        .await;
    world.signal(first.number, Signal::CONT);
    let other = "startjobs_renewals_total{result=\"other\"}";
    world.eventually("the first learns it", async |_: &World| first.metric(other) >= 5.0).await;
    assert!(second.metric("startjobs_entries_received_total{origin=\"claimed\"}") >= 5.0);
    let account = world.settled().await;
    assert_eq!(account.outcomes.values().sum::<usize>(), 5, "{account:?}");
    assert!(world.log(first.number).processed().is_empty(), "it published a stale outcome");
    world.at_rest().await;
}

#[tokio::test]
async fn a_job_is_tried_again_for_so_long_after_its_first_failure_whenever_it_was_first_delivered() {
    let settings = [("retry-attempts", "1000"), ("retry-max-age", "2s"), ("retry-max", "100ms")];
    let mut world = World::with(&settings).await;
    world.create_group().await;
    let job = world.send("game", "sim/retry").await;
    world.read_as("elsewhere", "1").await;
    // Its first delivery is older than the limit.
    world.eventually("the delivery is old", async |world: &World| in_hand(world).await[0].idle_ms > 2_500).await;
    let began = Instant::now();
    world.replica(&[]);
    world.settled().await;
    assert!(began.elapsed() >= Duration::from_secs(2), "given up after {:?}", began.elapsed());
    let letters = world.lobby.all_dead().await.expect("dead letters");
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "retries_exhausted"));
    assert_ne!(world.outcome(job).await.get("error_code"), "");
}
