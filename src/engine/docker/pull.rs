//! Getting an image onto the engine.

use std::sync::Arc;

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use crate::contract::error_code::ErrorCode;
use crate::engine::EngineError;

use super::classify::{Call, Failure, classify};
use super::client::{Client, Limits, timed_out};
use super::shared_pulls::Reporter;

pub(super) async fn is_present(client: &Client, limits: &Limits, image: &str) -> Result<bool, EngineError> {
    let seen =
        client.call("inspect of the image", limits.look, |docker| async move { docker.inspect_image(image).await });
    match seen.await.map_err(|failure| classify(Call::InspectImage, &failure)) {
        Ok(_) => Ok(true),
        Err(EngineError::ImageMissing) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Pulls the image, unless it has arrived since the caller looked.
pub(super) async fn pull(
    client: Arc<Client>,
    limits: Limits,
    image: String,
    reporter: Reporter,
) -> Result<(), EngineError> {
    if is_present(&client, &limits, &image).await? {
        return Ok(());
    }
    fetch(&client, &limits, &image, &reporter).await.map_err(|failure| classify(Call::Pull, &failure))?;
    // A stream that breaks off between two lines ends like a whole one.
    if is_present(&client, &limits, &image).await? {
        return Ok(());
    }
    Err(EngineError::failed(ErrorCode::ImagePullFailed, "the pull ended, but the engine does not have the image"))
}

async fn fetch(client: &Client, limits: &Limits, image: &str, reporter: &Reporter) -> Result<(), Failure> {
    let silence = limits.pull_silence;
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let run = |docker: bollard::Docker| async move {
        // Before the registry has answered there is no stream, only a call without response headers.
        let mut lines = docker.create_image(Some(options), None, None);
        loop {
            let line = tokio::time::timeout(silence, lines.next()).await;
            match line.map_err(|_| timed_out("the pull (no progress)", silence))? {
                Some(line) => line?,
                None => return Ok::<_, Failure>(()),
            };
            reporter.receiving();
        }
    };
    client.call("the pull", limits.pull, run).await
}
