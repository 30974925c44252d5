//! Every crash and failure that is counted against an entry, seen as Redis is told of it. What is settled takes its counts
//! with it, so looking afterwards shows nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::world::{PATIENCE, World};

/// Listens by MONITOR from now on.
#[derive(Debug)]
pub struct Counted {
    seen: Arc<Seen>,
    stream: TcpStream,
    marks: AtomicU64,
}

#[derive(Debug, Default)]
struct Seen {
    /// Entry ids and `<crashes> <failures> <since>`.
    writes: Mutex<Vec<(String, String)>>,
    mark: AtomicU64,
}

impl Counted {
    /// Begins to listen.
    pub fn of(world: &World) -> Self {
        let url = world.redis.url();
        let address = url.strip_prefix("redis://").expect("a plain address");
        let mut stream = TcpStream::connect(address).expect("redis-server answers");
        stream.write_all(b"MONITOR\r\n").expect("it reads");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("an answer");
        assert_eq!(line, "+OK\r\n");
        let (seen, attempts) = (Arc::new(Seen::default()), format!("{}:attempts", world.settings.stream.jobs));
        let noting = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                noting.note(&line, &attempts);
            }
        });
        Self { seen, stream, marks: AtomicU64::new(0) }
    }

    /// Against which entries crashes have been counted so far.
    pub async fn crashes(&self, world: &World) -> Vec<String> {
        let mark = 1 + self.marks.fetch_add(1, Ordering::Relaxed);
        world.redis(&["ECHO", &format!("mark-{mark}")]).await;
        let began = std::time::Instant::now();
        while self.seen.mark.load(Ordering::Acquire) < mark {
            assert!(began.elapsed() < PATIENCE, "MONITOR does not get so far");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let writes = self.seen.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_crash = |counts: &str| counts.split(' ').next().is_some_and(|crashes| crashes != "0");
        writes.iter().filter(|(_, counts)| is_crash(counts)).map(|(id, _)| id.clone()).collect()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // The thread's read ends with it.
        self.stream.shutdown(std::net::Shutdown::Both).ok();
    }
}

impl Seen {
    /// `+<time> [<db> <who>] "<command>" "<argument>" ...`
    fn note(&self, line: &str, attempts: &str) {
        let Some((_, words)) = line.split_once("] \"") else { return };
        let words: Vec<&str> = words.trim_end_matches('"').split("\" \"").collect();
        match words.as_slice() {
            [command, key, pairs @ ..] if command.eq_ignore_ascii_case("HSET") && *key == attempts => {
                // Other fields beside the ids tell who runs an entry alone and the like.
                let pairs = pairs.chunks_exact(2).filter(|pair| pair[0].starts_with(|c: char| c.is_ascii_digit()));
                let pairs = pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
                self.writes.lock().unwrap_or_else(PoisonError::into_inner).extend(pairs);
            }
            [command, mark] if command.eq_ignore_ascii_case("ECHO") => {
                if let Some(mark) = mark.strip_prefix("mark-").and_then(|digits| digits.parse().ok()) {
                    self.mark.store(mark, Ordering::Release);
                }
            }
            _ => {}
        }
    }
}
