//! Getting an image onto the engine.

use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::contract::error_code::ErrorCode;
use crate::engine::pull::{LayerStep, Layers, Noted};
use crate::engine::{EngineError, PullStep};
use crate::tls::Budget;

use super::classify::{Call, Failure, classify};
use super::client::{Client, Limits};
use super::credentials::Login;

/// How often the engine may begin to download one layer that brings little each time. Left alone it begins six times and
/// waits 75 s in between: the time is better spent on a back-off of the job's own.
const TRIES_MAX: u32 = 3;

pub(super) async fn is_present(client: &Client, limits: &Limits, image: &str) -> Result<bool, EngineError> {
    let seen =
        client.call("inspect of the image", limits.look, |docker| async move { docker.inspect_image(image).await });
    match seen.await.map_err(|failure| classify(Call::InspectImage, &failure)) {
        Ok(_) => Ok(true),
        Err(EngineError::ImageMissing) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Pulls the image with this login, whether it is there or not.
pub(super) async fn pull(
    client: &Client,
    limits: &Limits,
    image: &str,
    login: Option<&Login>,
    progress: &(dyn Fn(PullStep) + Send + Sync),
) -> Result<(), EngineError> {
    let was_present = is_present(client, limits, image).await?;
    progress(PullStep::Starting);
    let fetched = fetch(client, limits, image, login, progress).await;
    let said_so = fetched.map_err(|failure| classify(Call::Pull, &failure))?;
    // A stream that breaks off between two lines ends like a whole one.
    if said_so || !was_present && is_present(client, limits, image).await? {
        return Ok(());
    }
    let message = if was_present {
        "the pull broke off, and the engine still has the image of before"
    } else {
        "the pull ended, but the engine does not have the image"
    };
    Err(EngineError::failed(ErrorCode::ImagePullFailed, message))
}

/// Whether the engine said at its end that it has the image.
async fn fetch(
    client: &Client,
    limits: &Limits,
    image: &str,
    login: Option<&Login>,
    progress: &(dyn Fn(PullStep) + Send + Sync),
) -> Result<bool, Failure> {
    let silence = limits.pull_silence;
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let budget = &Budget::pull();
    let credentials = login.map(Login::credentials);
    let run = |docker: bollard::Docker| async move {
        // Before the registry has answered there is no stream, only a call without response headers.
        let mut lines = docker.create_image(Some(options), None, credentials);
        let (mut layers, mut said_so, mut is_receiving) = (Layers::default(), false, false);
        let mut further_at = Instant::now();
        loop {
            let line = timeout_at(further_at + silence, lines.next()).await;
            let Some(line) = line.map_err(|_| silent(silence))? else {
                return Ok::<_, Failure>(said_so);
            };
            let line = line?;
            budget.item_taken();
            if !std::mem::replace(&mut is_receiving, true) {
                further_at = Instant::now();
                progress(PullStep::Receiving);
            }
            said_so |= is_end(&line);
            let Some((id, step)) = layer_step(&line) else { continue };
            match layers.note(id, step) {
                Noted::Further => {
                    further_at = Instant::now();
                    progress(PullStep::Received(layers.progress()));
                }
                Noted::Retried(tries) if tries >= TRIES_MAX => {
                    return Err(Failure::Stream(format!(
                        "the registry did not send layer {id} of the image: the engine tried {tries} times"
                    )));
                }
                Noted::Retried(_) | Noted::Nothing => {}
            }
        }
    };
    client.call_within(budget, "the pull (pull-timeout)", limits.pull, run).await
}

fn silent(limit: Duration) -> Failure {
    Failure::TimedOut(format!("the pull received and unpacked nothing for {limit:?} (pull-silence)"))
}

/// The engine says so once the image is stored.
fn is_end(line: &CreateImageInfo) -> bool {
    let status = line.status.as_deref().unwrap_or_default();
    status.starts_with("Status: ")
}

/// All that is read of a line.
#[cfg(any(test, fuzzing))]
pub(super) fn read(line: &CreateImageInfo) {
    is_end(line);
    layer_step(line);
}

/// What a line says about a layer.
fn layer_step(line: &CreateImageInfo) -> Option<(&str, LayerStep)> {
    let (id, status) = (line.id.as_deref()?, line.status.as_deref()?);
    let number = |of: Option<i64>| of.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let detail = line.progress_detail.as_ref();
    let current = number(detail.and_then(|detail| detail.current));
    let step = match status {
        "Downloading" => LayerStep::Received(current, number(detail.and_then(|detail| detail.total))),
        "Extracting" | "Verifying Checksum" | "Download complete" => LayerStep::Unpacked(current),
        "Pull complete" | "Already exists" => LayerStep::Done,
        _ if status.starts_with("Pulling from ") => return None,
        _ => match status.strip_prefix("Retrying in ") {
            Some(rest) => LayerStep::Retried(rest.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)),
            None => LayerStep::Named,
        },
    };
    Some((id, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_engine_are_understood() {
        let said = |json: &str| {
            let line: CreateImageInfo = serde_json::from_str(json).expect("a line");
            let step = layer_step(&line).map(|(id, step)| (id.to_owned(), step));
            (step, is_end(&line))
        };
        let layer = |step| (Some(("a".to_owned(), step)), false);
        for (json, expected) in [
            (r#"{"status":"Pulling from x","id":"1"}"#, (None, false)),
            (r#"{"status":"Pulling fs layer","progressDetail":{},"id":"a"}"#, layer(LayerStep::Named)),
            (
                r#"{"status":"Downloading","progressDetail":{"current":5,"total":9},"progress":"[>]","id":"a"}"#,
                layer(LayerStep::Received(5, 9)),
            ),
            (r#"{"status":"Downloading","progressDetail":{"current":-1},"id":"a"}"#, layer(LayerStep::Received(0, 0))),
            (
                r#"{"status":"Extracting","progressDetail":{"current":3,"total":9},"id":"a"}"#,
                layer(LayerStep::Unpacked(3)),
            ),
            (r#"{"status":"Retrying in 5 seconds","progressDetail":{},"id":"a"}"#, layer(LayerStep::Retried(5))),
            (r#"{"status":"Retrying in 1 second","progressDetail":{},"id":"a"}"#, layer(LayerStep::Retried(1))),
            (r#"{"status":"Pull complete","progressDetail":{},"id":"a"}"#, layer(LayerStep::Done)),
            (r#"{"status":"Digest: sha256:0"}"#, (None, false)),
            (r#"{"status":"Status: Image is up to date for x"}"#, (None, true)),
        ] {
            assert_eq!(said(json), expected, "{json}");
        }
    }
}
