//! Named volumes that carry labels: what an engine is to remember for as long as it has its data.

use std::collections::{BTreeMap, HashMap};

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::ListVolumesOptionsBuilder;

use crate::engine::EngineError;
use crate::tls::Budget;

use super::classify::{Call, classify};
use super::client::{Client, Limits};
use super::request;

/// The labels of this volume. A create of a name that exists changes nothing and is a success; but an engine that has been
/// restarted since then answers it without the labels, which an inspect shows.
pub(super) async fn mark(
    client: &Client,
    limits: &Limits,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, EngineError> {
    // The engine makes up a name where there is none.
    request::check_name(name)?;
    let body = VolumeCreateRequest {
        name: Some(name.to_owned()),
        labels: Some(labels.clone().into_iter().collect()),
        ..VolumeCreateRequest::default()
    };
    let answer = client.call("create of a volume", limits.create, |docker| async move {
        docker.create_volume(body).await?;
        docker.inspect_volume(name).await
    });
    let volume = answer.await.map_err(|failure| classify(Call::Optional, &failure))?;
    Ok(volume.labels.into_iter().collect())
}

/// The labels of each volume that carries this label.
pub(super) async fn marks(
    client: &Client,
    limits: &Limits,
    label: &str,
) -> Result<Vec<BTreeMap<String, String>>, EngineError> {
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let budget = Budget::list();
    let answer = client.call_within(&budget, "list of volumes", limits.look, |docker| async move {
        docker.list_volumes(Some(options)).await
    });
    let seen = answer.await.map_err(|failure| classify(Call::Optional, &failure))?;
    Ok(seen.volumes.unwrap_or_default().into_iter().map(|volume| volume.labels.into_iter().collect()).collect())
}
