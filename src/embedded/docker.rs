//! A Docker Engine, for what the start service does not do: bringing the demonstration's image, and taking away
//! everything that one run left on the engine.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptions, RemoveVolumeOptions,
};
use futures_util::StreamExt;

use super::image;
use crate::engine::label;
use crate::tls::{Budget, Tls, docker_client};

/// How long the engine may take to say that it is there.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// How long anything else may take.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// An engine that has answered.
#[derive(Debug, Clone)]
pub(crate) struct DockerAdmin {
    docker: bollard::Docker,
}

impl DockerAdmin {
    /// The engine behind `unix:///path` or `tcp://host:port`, the latter with or without TLS; the error says why there is
    /// none.
    pub(crate) async fn connect(host: &str, tls: Option<&Tls>) -> Result<Self, String> {
        let made = docker_client(host, tls, DONE_WITHIN.as_secs());
        let docker = made.map_err(|error| error.to_string())?;
        // Of a handshake the library says less than it knows.
        let negotiated = tokio::time::timeout(ANSWERS_WITHIN, docker.negotiate_version()).await;
        let docker = negotiated
            .map_err(|_| format!("no answer within {ANSWERS_WITHIN:?}"))?
            .map_err(|error| tls.and_then(|tls| tls.explain_causes(&error)).unwrap_or_else(|| text_of(&error)))?;
        within(ANSWERS_WITHIN, docker.ping()).await?;
        Ok(Self { docker })
    }

    /// The engine's version.
    pub(crate) async fn version(&self) -> Result<String, String> {
        let version = within(ANSWERS_WITHIN, self.docker.version()).await?;
        Ok(version.version.unwrap_or_else(|| "unknown".to_owned()))
    }

    /// Makes the image `repository:tag` of this static program; its containers run `startjobs engine`.
    pub(crate) async fn import(&self, name: &str, program: &[u8]) -> Result<(), String> {
        let (repository, tag) = name.rsplit_once(':').ok_or("an image name without a tag")?;
        let entry_point = format!("ENTRYPOINT [\"/{}\",\"engine\"]", image::PROGRAM);
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repository)
            .tag(tag)
            .changes(vec![entry_point, "EXPOSE 8080".to_owned()])
            .build();
        let body = bollard::body_full(image::archive(program).into());
        let mut steps = self.docker.create_image(Some(options), Some(body), None);
        within(DONE_WITHIN, async {
            while let Some(step) = steps.next().await {
                step?;
            }
            Ok(())
        })
        .await
    }

    /// Brings an image of this engine to another one.
    pub(crate) async fn copy_image(&self, name: &str, to: &Self) -> Result<(), String> {
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        // It passes through in parts, so it may be of any size.
        let budget = Budget::endless();
        let carried = budget.clone();
        let source = self.docker.clone().with_request_modifier(move |mut request| {
            request.extensions_mut().insert(carried.clone());
            request
        });
        let image = source.export_image(name).inspect(move |_| budget.item_taken());
        let mut steps = to.docker.import_image_stream(options, image, None);
        within(DONE_WITHIN, async {
            while let Some(step) = steps.next().await {
                step?;
            }
            Ok(())
        })
        .await
    }

    /// Removes an image; false if there is none.
    pub(crate) async fn remove_image(&self, name: &str) -> Result<bool, String> {
        let removed = self.docker.remove_image(name, None::<RemoveImageOptions>, None);
        within(DONE_WITHIN, async { unless_missing(removed.await.map(drop)) }).await
    }

    /// Every container, running or not, that was created under this `engine-host-id`.
    pub(crate) async fn containers_of(&self, host_id: &str) -> Result<Vec<String>, String> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{}={host_id}", label::HOST)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = within(DONE_WITHIN, self.docker.list_containers(Some(options))).await?;
        Ok(listed.into_iter().filter_map(|container| container.id).collect())
    }

    /// What a container of the strict policy is not kept from, although it should be, by the engine's own description.
    pub(crate) async fn unconfined(&self, id: &str) -> Result<Vec<String>, String> {
        let seen = within(DONE_WITHIN, self.docker.inspect_container(id, None::<InspectContainerOptions>)).await?;
        let host = seen.host_config.unwrap_or_default();
        let log = host.log_config.clone().unwrap_or_default();
        let rotates = matches!(log.typ.as_deref(), Some("json-file" | "local"));
        let says = |list: &Option<Vec<String>>, word: &str| list.iter().flatten().any(|one| one.starts_with(word));
        let is_positive = |number: Option<i64>| number.is_some_and(|number| number > 0);
        let checks = [
            (says(&host.cap_drop, "ALL") && host.cap_add.as_ref().is_none_or(Vec::is_empty), "it has capabilities"),
            (host.privileged != Some(true), "it is privileged"),
            (says(&host.security_opt, "no-new-privileges"), "it can gain privileges"),
            (host.readonly_rootfs == Some(true), "it can write to its image"),
            (is_positive(host.memory), "its memory is not bounded"),
            (is_positive(host.pids_limit), "its pids are not bounded"),
            (!rotates || log.config.is_some_and(|config| config.contains_key("max-size")), "its log is not bounded"),
        ];
        Ok(checks.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what.to_owned()).collect())
    }

    /// Removes the mark of a fleet that has no containers any more; false if there is none.
    pub(crate) async fn remove_fleet_mark(&self, fleet: &str) -> Result<bool, String> {
        let name = format!("{}{fleet}", label::FLEET_VOLUME);
        let removed = self.docker.remove_volume(&name, None::<RemoveVolumeOptions>);
        within(DONE_WITHIN, async { unless_missing(removed.await) }).await
    }

    /// Removes a container by force; false if there is none.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<bool, String> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = self.docker.remove_container(id, Some(options));
        within(DONE_WITHIN, async { unless_missing(removed.await) }).await
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| text_of(&error)),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

fn unless_missing(removed: Result<(), Error>) -> Result<bool, Error> {
    match removed {
        Ok(()) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Only the innermost cause says what is wrong: "connection refused".
fn text_of(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
