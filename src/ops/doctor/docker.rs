//! The Docker Engine: reachable, new enough, with room, and with the image that was asked for.

use std::path::Path;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};

use super::Finding;
use crate::ops::printable::printable;

/// A data root with less room than this will soon fail a pull.
const FREE_MIN: u64 = 2 << 30;

/// Looks at the engine at `host`; each call within `limit`.
pub(super) async fn docker(host: &str, image: Option<&str>, limit: Duration) -> Vec<Finding> {
    let seconds = limit.as_secs().max(1);
    let made = match host.strip_prefix("unix://") {
        Some(path) => {
            if let Some(finding) = no_socket(path) {
                return vec![finding];
            }
            Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION)
        }
        None => Docker::connect_with_http(host, seconds, API_DEFAULT_VERSION),
    };
    let remedy = "start the Docker Engine, or correct docker-host; the user needs the right to use its socket";
    let docker = match made {
        Ok(docker) => docker,
        Err(error) => return vec![Finding::fail("docker", format!("{host}: {error}"), remedy)],
    };
    // An engine older than the library refuses every call made with the library's own version.
    let asked = bounded(limit, async {
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
    let mut findings = vec![Finding::ok("docker", found)];
    findings.extend(disk(&docker, host, limit).await);
    if let Some(image) = image {
        findings.push(present(&docker, image, limit).await);
    }
    findings
}

fn no_socket(path: &str) -> Option<Finding> {
    let remedy = "start the Docker Engine, or set docker-host to where it answers";
    (!Path::new(path).exists()).then(|| Finding::fail("docker", format!("there is no socket at {path}"), remedy))
}

async fn bounded<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            printable(&format!("{error}{cause}"))
        }),
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(limit))),
    }
}

/// Room in the data root, where that is on this machine and readable.
async fn disk(docker: &Docker, host: &str, limit: Duration) -> Option<Finding> {
    let info = bounded(limit, docker.info()).await.ok()?;
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

async fn present(docker: &Docker, image: &str, limit: Duration) -> Finding {
    let shown = printable(image);
    match bounded(limit, docker.inspect_image(image)).await {
        Ok(_) => Finding::ok("image", format!("{shown} is present")),
        Err(error) if error.to_lowercase().contains("no such image") => Finding::warn(
            "image",
            format!("{shown} is not present: the first start pulls it"),
            format!("docker pull {shown}"),
        ),
        Err(error) => Finding::warn("image", format!("{shown}: {error}"), "look at the engine"),
    }
}
