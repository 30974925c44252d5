//! A Docker Engine, for what the start service does not do: bringing the demonstration's image, and taking away
//! everything that one run left on the engine.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
};
use futures_util::StreamExt;

use super::image;
use crate::engine::label;
use crate::tls::{Tls, docker_client};

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
