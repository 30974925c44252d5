//! `startjobs healthcheck`: asks a worker's own probe, for containers, which hold no other program that could.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::setting_flags::{self, Probe};
use super::{exit, output, process};
use crate::ops::printable::printable;
use crate::settings::flags::SettingFlags;

const EXAMPLES: &str = "Examples:
  startjobs healthcheck
  startjobs healthcheck --ready
  startjobs healthcheck --http-addr 127.0.0.1:9100 --timeout 1s";

const NOTES: &str = "Asks /livez (with --ready: /readyz) at http-addr, as the worker's own settings give it; where that address means every
interface, it asks on this machine. The Dockerfile's HEALTHCHECK runs this command.

Exit codes: 0 the probe says yes; 1 it says no, or does not answer; 2 usage; 78 a setting is wrong, or http-addr is off.";

/// An answer is a word, or one line of JSON.
const ANSWER_MAX: u64 = 64 * 1024;
/// Metrics are some hundred lines.
const METRICS_MAX: u64 = 2 << 20;

/// Ask a worker's probe whether it lives, as a container's health check
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_long_help = NOTES)]
pub(super) struct HealthcheckArgs {
    /// Ask whether the worker takes work, instead of whether it lives
    #[arg(long)]
    ready: bool,
    /// Maximum time for the answer
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    settings: SettingFlags<Probe>,
}

/// Runs it.
pub(super) fn run(args: HealthcheckArgs) -> ExitCode {
    let settings = match setting_flags::load(args.settings) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let Some(address) = settings.http_addr else {
        output::complain(
            "http-addr is off: the worker has no probe to ask",
            "set http-addr for the worker and for this command",
        );
        return ExitCode::from(exit::CONFIG);
    };
    let path = if args.ready { "/readyz" } else { "/livez" };
    process::block_on(async move {
        match ask(reachable(address), path, args.timeout).await {
            Ok((true, body)) => {
                output::print(&format!("{}\n", printable(&body)));
                exit::DONE
            }
            Ok((false, body)) => {
                output::complain(&format!("{path}: {}", printable(&body)), "`startjobs doctor` looks for the cause");
                exit::FAILED
            }
            Err(error) => {
                output::complain(&format!("{path} at {address}: {error}"), "start the worker, or correct http-addr");
                exit::FAILED
            }
        }
    })
}

/// Where a listener on this address answers.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The metrics of the replica at this address, or why there are none.
pub(super) async fn metrics(address: SocketAddr, limit: Duration) -> Result<String, String> {
    let (is_fine, body) = ask_for(reachable(address), "/metrics", limit, METRICS_MAX).await?;
    if is_fine { Ok(body) } else { Err("it refuses".to_owned()) }
}

/// Whether the answer is yes, and its words.
async fn ask(address: SocketAddr, path: &str, limit: Duration) -> Result<(bool, String), String> {
    ask_for(address, path, limit, ANSWER_MAX).await
}

async fn ask_for(address: SocketAddr, path: &str, limit: Duration, max: u64) -> Result<(bool, String), String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reply = Vec::new();
        stream.take(max).read_to_end(&mut reply).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&reply).into_owned())
    };
    let reply = match timeout(limit, asking).await {
        Ok(reply) => reply.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("no answer within {}", humantime::format_duration(limit))),
    };
    let status = reply.split(' ').nth(1).filter(|_| reply.starts_with("HTTP/1."));
    let (Some(status), Some((_, body))) = (status, reply.split_once("\r\n\r\n")) else {
        return Err("the answer is no HTTP".to_owned());
    };
    Ok((status == "200", body.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_interface_is_asked_on_this_machine() {
        let asked = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:9100"), "127.0.0.1:9100");
        assert_eq!(asked("[::]:9100"), "[::1]:9100");
        assert_eq!(asked("10.1.2.3:9100"), "10.1.2.3:9100");
    }
}
