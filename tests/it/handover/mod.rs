//! Jobs that are placed on a host: whichever replica reads one, a replica of that host does it. The jobs are the greetings of
//! `other_handler`, whose replicas are told on which host they are.

// which replica does what, and how soon
mod places;
// givers and new owners that die, stop and drain
mod deaths;

use std::time::{Duration, Instant};

use crate::other_handler::book::PLACES;
use crate::other_handler::hall::Hall;
use crate::support::world::PATIENCE;

/// The names `<prefix>-<number>` are greeted on this host, and nowhere else.
async fn place(hall: &Hall, prefix: &str, count: usize, host: &str) {
    for number in 0..count {
        place_one(hall, &format!("{prefix}-{number}"), host).await;
    }
}

async fn place_one(hall: &Hall, name: &str, host: &str) {
    hall.world.redis(&["HSET", PLACES, name, host]).await;
}

/// How many jobs these replicas have handed over.
fn handed_over(hall: &Hall, replicas: &[usize]) -> usize {
    replicas.iter().map(|&number| hall.log(number).count("handed over")).sum()
}

/// The jobs that these replicas have answered, once they are so many. A line of the log may come after the outcome.
async fn processed(hall: &Hall, replicas: &[usize], count: usize) -> Vec<String> {
    let began = Instant::now();
    loop {
        let jobs: Vec<String> = replicas.iter().flat_map(|&number| hall.log(number).processed()).collect();
        if jobs.len() >= count {
            return jobs;
        }
        assert!(began.elapsed() < PATIENCE, "{} of {count} were answered\n{}", jobs.len(), hall.logs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
