//! Every version of redis-server that there is here.

use std::path::{Path, PathBuf};

use startjobs::embedded::redis_server::RedisServer;

/// Those that `deploy/ci/servers.sh` fetches, beside the one on PATH.
pub const FETCHED: [&str; 2] = ["6.2", "8.2"];

/// A redis-server of this version, fetched by `deploy/ci/servers.sh`; on CI its absence is a failure.
pub fn fetched(version: &str) -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/redis-servers").join(version).join("redis-server");
    if program.exists() {
        return Some(program);
    }
    let advice = format!("no redis-server {version}: run deploy/ci/servers.sh, which takes it from the Python index");
    assert!(std::env::var_os("CI").is_none(), "{advice}");
    eprintln!("TEST LEFT OUT: {advice}");
    None
}

/// A newer server, fetched by `deploy/ci/newer-servers.sh` from the archive of Debian. Its test is left out where that
/// archive no longer has this version, on CI too.
pub fn newer(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/newer-servers");
    let program = folder.join(name).join("redis-server");
    if folder.join("fetched").exists() && program.exists() {
        return Some(program);
    }
    eprintln!("TEST LEFT OUT: no {name}: run deploy/ci/newer-servers.sh, which takes it from the archive of Debian");
    None
}

/// The program of each version.
pub fn programs() -> impl Iterator<Item = PathBuf> {
    FETCHED.into_iter().filter_map(fetched).chain([PathBuf::from("redis-server")])
}

/// One server of each version.
pub fn all() -> impl Iterator<Item = RedisServer> {
    programs().map(|program| RedisServer::start_with(&program, &[]).expect("this redis-server starts"))
}
