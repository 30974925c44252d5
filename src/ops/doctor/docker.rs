//! The Docker Engine: reachable, new enough, with room, and with the image that was asked for.

use std::path::Path;
use std::time::Duration;

use bollard::Docker;

use super::finding::Finding;
use crate::engine::config::Config;
use crate::ops::printable::printable;
use crate::tls::{Tls, docker_client};

/// A data root with less room than this will soon fail a pull.
const FREE_MIN: u64 = 2 << 30;

/// Looks at the engine; each call within `limit`.
pub(super) async fn docker(settings: &Config, image: Option<&str>, limit: Duration) -> Vec<Finding> {
    let (host, tls) = (settings.docker_host.as_str(), settings.docker_tls.as_ref());
    let seconds = limit.as_secs().max(1);
    if let Some(finding) = host.strip_prefix("unix://").and_then(no_socket) {
        return vec![finding];
    }
    let made = docker_client(host, tls, seconds);
    let remedy = "start the Docker Engine, or correct docker-host; the user needs the right to use its socket";
    let docker = match made {
        Ok(docker) => docker,
        Err(error) => return vec![Finding::fail("docker", format!("{host}: {error}"), remedy)],
    };
    // An engine older than the library refuses every call made with the library's own version.
    let asked = bounded(limit, tls, async {
        let docker = docker.negotiate_version().await?;
        let version = docker.version().await?;
        Ok((docker, version))
    });
    let (docker, version) = match asked.await {
        Ok(answer) => answer,
        Err(error) => return vec![Finding::fail("docker", format!("{host}: {error}"), remedy)],
    };
    let text = |text: Option<String>| text.map_or_else(|| "unknown".to_owned(), |text| printable(&text));
    let found = format!("{host}: version {}, API {}", text(version.version), text(version.api_version));
    let mut findings = vec![Finding::ok("docker", found), encryption(host, tls)];
    findings.extend(disk(&docker, host, tls, limit).await);
    if let Some(image) = image {
        findings.push(present(&docker, image, tls, limit).await);
    }
    findings
}

/// Everyone who reaches an engine without authentication has root rights there.
fn encryption(host: &str, tls: Option<&Tls>) -> Finding {
    const ABOUT: &str = "docker-tls";
    match tls {
        Some(tls) => Finding::ok(ABOUT, tls.to_string()),
        None if host.starts_with("unix://") => Finding::ok(ABOUT, "a socket of this machine"),
        None => Finding::warn(
            ABOUT,
            "neither encrypted nor authenticated: everyone who reaches that port has root rights on the engine's machine",
            "serve it with --tlsverify and set docker-tls-ca-file, docker-tls-cert-file and docker-tls-key-file",
        ),
    }
}

fn no_socket(path: &str) -> Option<Finding> {
    let remedy = "start the Docker Engine, or set docker-host to where it answers";
    (!Path::new(path).exists()).then(|| Finding::fail("docker", format!("there is no socket at {path}"), remedy))
}

async fn bounded<T>(
    limit: Duration,
    tls: Option<&Tls>,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| {
            if let Some(explained) = tls.and_then(|tls| tls.explain_causes(&error)) {
                return explained;
            }
            let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            printable(&format!("{error}{cause}"))
        }),
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(limit))),
    }
}

/// Room in the data root, where that is on this machine and readable.
async fn disk(docker: &Docker, host: &str, tls: Option<&Tls>, limit: Duration) -> Option<Finding> {
    let info = bounded(limit, tls, docker.info()).await.ok()?;
    let root = info.docker_root_dir?;
    if !host.starts_with("unix://") {
        return None;
    }
    let stat = rustix::fs::statvfs(root.as_str()).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} GiB free in {}", free >> 30, printable(&root));
    Some(if free < FREE_MIN {
        Finding::warn("disk", found, "docker image prune, or a larger disk")
    } else {
        Finding::ok("disk", found)
    })
}

async fn present(docker: &Docker, image: &str, tls: Option<&Tls>, limit: Duration) -> Finding {
    let shown = printable(image);
    match bounded(limit, tls, docker.inspect_image(image)).await {
        Ok(_) => Finding::ok("image", format!("{shown} is present")),
        Err(error) if error.to_lowercase().contains("no such image") => Finding::warn(
            "image",
            format!("{shown} is not present: the first start pulls it"),
            format!("docker pull {shown}"),
        ),
        Err(error) => Finding::warn("image", format!("{shown}: {error}"), "look at the engine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::Level;

    #[test]
    fn a_port_that_is_open_to_everybody_is_warned_of() {
        assert_eq!(encryption("tcp://10.0.0.1:2375", None).level, Level::Warn);
        assert_eq!(encryption("unix:///var/run/docker.sock", None).level, Level::Ok);
    }
}
