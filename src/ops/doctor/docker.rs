//! The Docker Engine: reachable, new enough, with room, and with the image that was asked for.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::models::SystemInfo;

use super::containers::containers;
use super::finding::Finding;
use crate::engine::config::Config;
use crate::ops::printable::printable;
use crate::policy::Policy;
use crate::tls::{Tls, docker_client};

/// A data root with less room than this will soon fail a pull.
const FREE_MIN: u64 = 2 << 30;

/// Looks at the engine; each call within `limit`.
pub(super) async fn docker(
    settings: &Config,
    policy: Option<&Policy>,
    image: Option<&str>,
    limit: Duration,
) -> Vec<Finding> {
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
    let info = bounded(limit, tls, docker.info()).await;
    findings.extend(info.as_ref().ok().and_then(|info| disk(info, host)));
    findings.extend(containers(&info, policy));
    if let Some(policy) = policy {
        findings.extend(networks(&docker, policy, tls, limit).await);
        findings.extend(folders(policy, host));
    }
    if let Some(image) = image {
        findings.push(present(&docker, image, tls, limit).await);
    }
    findings
}

/// The networks that the policy names.
async fn networks(docker: &Docker, policy: &Policy, tls: Option<&Tls>, limit: Duration) -> Vec<Finding> {
    const ABOUT: &str = "networks";
    let mut findings = Vec::new();
    for name in policy.networks() {
        let shown = printable(name);
        findings.push(match bounded(limit, tls, docker.inspect_network(name, None)).await {
            Ok(_) => Finding::ok(ABOUT, format!("{shown} is there")),
            Err(error) if error.contains("not found") => Finding::fail(
                ABOUT,
                format!("the policy wants {shown}, and the engine does not have it: games go to other hosts, or fail"),
                format!("docker network create {shown}, or correct `network` in the policy"),
            ),
            Err(error) => Finding::warn(
                ABOUT,
                format!("{shown}: {error}"),
                "let the proxy before the engine answer GET /networks/NAME, as deploy/engine-proxy/haproxy.cfg does",
            ),
        });
    }
    findings
}

/// The folders that the policy mounts, where the engine is on this machine. A container sees other folders than its engine.
fn folders(policy: &Policy, host: &str) -> Option<Finding> {
    const ABOUT: &str = "mounts";
    let folders = policy.folders();
    if folders.is_empty() || !host.starts_with("unix://") {
        return None;
    }
    let missing: Vec<String> =
        folders.iter().filter(|folder| !Path::new(folder).exists()).map(|folder| printable(folder)).collect();
    if missing.is_empty() {
        return Some(Finding::ok(ABOUT, format!("{} folders of the policy are there", folders.len())));
    }
    Some(Finding::warn(
        ABOUT,
        format!("the policy mounts {}, which this process does not see", missing.join(", ")),
        "make the folder on this machine, or correct `mounts` in the policy; where doctor runs in a container, look on its host",
    ))
}

/// Everyone who reaches an engine without authentication has root rights there.
fn encryption(host: &str, tls: Option<&Tls>) -> Finding {
    const ABOUT: &str = "docker-tls";
    match (tls, host.strip_prefix("unix://")) {
        (Some(tls), _) => Finding::ok(ABOUT, tls.to_string()),
        (None, Some(path)) if may_be_opened_by_all(path) => Finding::warn(
            ABOUT,
            format!("every user of this machine may open {path}, and so has root rights here"),
            format!("chmod 660 {path}, and give it to a group of the replicas alone"),
        ),
        (None, Some(_)) => Finding::ok(ABOUT, "a socket of this machine: a user who may open it has root rights here"),
        (None, None) => Finding::warn(
            ABOUT,
            "neither encrypted nor authenticated: everyone who reaches that port has root rights on the engine's machine, \
             and so do game containers there without deploy/firewall",
            "serve it with --tlsverify and set docker-tls-ca-file, docker-tls-cert-file and docker-tls-key-file",
        ),
    }
}

/// A folder above may still keep other users away, as that of Docker's volumes does.
fn may_be_opened_by_all(path: &str) -> bool {
    let is_open = |path: &Path, bit| path.metadata().is_ok_and(|found| found.permissions().mode() & bit != 0);
    let path = Path::new(path);
    is_open(path, 0o002) && path.ancestors().skip(1).all(|folder| is_open(folder, 0o001))
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
fn disk(info: &SystemInfo, host: &str) -> Option<Finding> {
    let root = info.docker_root_dir.as_deref()?;
    if !host.starts_with("unix://") {
        return None;
    }
    let stat = rustix::fs::statvfs(root).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} GiB free in {}", free >> 30, printable(root));
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
        assert_eq!(encryption("unix:///no/socket", None).level, Level::Ok);
    }

    #[test]
    fn a_socket_that_every_user_may_open_is_warned_of() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let socket = folder.path().join("sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("the folder is ours");
        for (of_folder, of_socket, level) in
            [(0o755, 0o666, Level::Warn), (0o755, 0o660, Level::Ok), (0o750, 0o666, Level::Ok)]
        {
            for (path, mode) in [(folder.path(), of_folder), (&socket, of_socket)] {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
            }
            assert_eq!(
                encryption(&format!("unix://{}", socket.display()), None).level,
                level,
                "{of_folder:o} {of_socket:o}"
            );
        }
    }
}
