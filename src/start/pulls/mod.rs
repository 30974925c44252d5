//! Images for games: looked for, and pulled where they are missing, without a slot, once for all replicas of a host.

// why there is no image
mod failure;
// what happens to pulls, for log and metrics
mod told;
// one pull per image in this process
mod flight;
// one pull per image on this host
pub(crate) mod board;
// one pull
mod pull;
// the images of one engine
mod images;
// pulls that operators wish for
mod wishes;

pub(super) use self::failure::PullError;
pub(crate) use self::images::Images;
pub(super) use self::images::Wanted;
pub(crate) use self::told::{PullEvent, PullsTold};
pub(crate) use self::wishes::tend;
