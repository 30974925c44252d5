//! Pulls that operators wish for (`startjobs runtime pull`): one of the host's replicas carries each of them out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::sleep;

use super::board::{Claim, Claimed, End};
use super::failure::PullError;
use super::images::Images;
use crate::contract::error_code::ErrorCode;
use crate::contract::image_ref::ImageRef;
use crate::engine::PullProgress;
use crate::policy::Current;
use crate::start::host::Host;

/// Between two looks for wishes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Wishes that one process carries out at once; the others wait, or are other replicas'.
const AT_ONCE: usize = 64;

/// Looks for wishes and carries them out, for as long as it is polled.
pub(crate) async fn tend(images: Arc<Images>, host: Arc<Host>, policy: Current) -> Infallible {
    let mut under_way = JoinSet::new();
    let mut busy: HashMap<Id, String> = HashMap::new();
    loop {
        sleep(LOOK_EVERY).await;
        while let Some(ended) = under_way.try_join_next_with_id() {
            busy.remove(&ended.map_or_else(|failed| failed.id(), |(id, ())| id));
        }
        let (Some(board), Some(identity)) = (&images.parts.board, host.settled()) else { continue };
        // Redis is asked again soon.
        let Ok(wanted) = board.wanted(identity.here.host()).await else { continue };
        for image in wanted {
            if busy.len() >= AT_ONCE || busy.values().any(|other| *other == image) {
                continue;
            }
            let (images, policy) = (Arc::clone(&images), policy.clone());
            let (name, wanted) = (identity.here.host().to_owned(), image.clone());
            let task = under_way.spawn(async move { carry_out(&images, &policy, &name, &wanted).await });
            busy.insert(task.id(), image);
        }
    }
}

async fn carry_out(images: &Images, policy: &Current, host: &str, image: &str) {
    let refusal = match ImageRef::parse(image) {
        Ok(parsed) if parsed.as_str() == image => {
            policy.now().terms(&parsed).err().map(|refusal| (ErrorCode::ImageNotAllowed, refusal.to_string()))
        }
        Ok(_) => Some((ErrorCode::InvalidImageRef, "it is not in normal form".to_owned())),
        Err(error) => Some((ErrorCode::InvalidImageRef, error.to_string())),
    };
    if let Some((code, message)) = refusal {
        return refuse(images, host, image, code, &message).await;
    }
    // How it ends, those see who look at the board.
    if let Err(PullError::Engine(error)) = images.fetch(image, host).await {
        tracing::debug!(image, err = %error, "a pull that an operator wished for failed");
    }
}

/// Ends a wish without a pull.
async fn refuse(images: &Images, host: &str, image: &str, code: ErrorCode, message: &str) {
    let Some(board) = &images.parts.board else { return };
    let id = uuid::Uuid::new_v4().simple().to_string();
    let claim = Claim { image, owner: &images.parts.owner, dead_owner: None, awaited: None, id: Some(&id) };
    if board.claim(host, claim).await == Ok(Claimed::Go) {
        drop(board.finish(host, (image, &id), (End::Failed(code, message), PullProgress::default())).await);
    }
}
