//! `runtime hosts`.

use crate::cli::exit;
use crate::cli::output::{self, or_dash};
use crate::cli::session::Session;
use crate::ops::hosts::HostView;
use crate::ops::printable::{json, printable, since};

const HEADINGS: [&str; 8] = ["host", "standing", "last heard", "replicas", "slots", "in use", "games", "engine"];

/// Lists the hosts.
pub(super) async fn run(session: &Session, as_json: bool) -> u8 {
    match session.ask(session.view.hosts_with_games()).await {
        Ok(hosts) => {
            let rows: Vec<[String; 8]> = hosts.hosts.iter().map(|host| row(host, hosts.at_ms)).collect();
            output::print(&if as_json { json(&hosts) } else { output::table(HEADINGS, &rows) });
            if hosts.more > 0 {
                output::note(&format!("and {} more", hosts.more));
            }
            output::say_damaged(&hosts.damaged, hosts.damaged_more);
            if rows.is_empty() && hosts.damaged.is_empty() {
                output::note("no host has been heard of");
            }
            exit::DONE
        }
        Err(error) => session.failed(&error),
    }
}

fn row(host: &HostView, now_ms: u64) -> [String; 8] {
    let at = host.advertise_host.as_deref().map_or_else(String::new, |at| format!(" at {at}"));
    let engine = host.engine.as_deref().map(|engine| printable(&format!("{engine}{at}")));
    [
        printable(&host.host),
        host.standing.to_owned(),
        or_dash(host.last_heard_ms.map(|at| since(at, now_ms))),
        host.replicas.to_string(),
        host.slots.to_string(),
        host.in_flight.to_string(),
        or_dash(host.games_text()),
        or_dash(engine),
    ]
}
