//! The worker that one writes first: reads one entry, publishes its outcome, acknowledges it, reads the next.

use std::collections::HashMap;
use std::time::SystemTime;

use fred::prelude::*;

/// Made by the bench.
const GROUP: &str = "rtmanager.startjobs";
const CONTAINER_ID: &str = "9f3c0000000000000000000000000000000000000000000000000000000000aa";

type Entries = Vec<(String, Vec<(String, HashMap<String, String>)>)>;

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by the bench"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // It reads the jobs stream itself.
    if std::env::args().nth(1).as_deref() == Some("fill") {
        return Ok(());
    }
    let (jobs, results) = (setting("STARTJOBS_JOBS_STREAM"), setting("STARTJOBS_RESULTS_STREAM"));
    let mut builder = Builder::from_config(Config::from_url(&setting("STARTJOBS_REDIS_URL"))?);
    builder.with_connection_config(|connection| connection.tcp.nodelay = Some(true));
    let client = builder.build()?;
    client.init().await?;
    loop {
        let read: Option<Entries> =
            client.xreadgroup(GROUP, "peer", Some(1), Some(1_000), false, jobs.as_str(), ">").await?;
        for (id, fields) in read.into_iter().flatten().flat_map(|(_, entries)| entries) {
            let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
            let finished = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let outcome = vec![
                ("game_id", field("game_id")),
                ("outcome", "success".to_owned()),
                ("container_id", CONTAINER_ID.to_owned()),
                ("engine_endpoint", format!("http://rtm-{}:8080", field("game_id"))),
                ("error_code", String::new()),
                ("error_message", String::new()),
                ("source_ref", id.clone()),
                ("requested_at_ms", field("requested_at_ms")),
                ("finished_at_ms", finished.as_millis().to_string()),
                ("attempt", "1".to_owned()),
            ];
            let _: String = client.xadd(results.as_str(), false, None::<()>, "*", outcome).await?;
            let _: u64 = client.xack(jobs.as_str(), GROUP, id).await?;
        }
    }
}
