//! The only place that knows the Redis client: connections, scripts, and what its errors mean for us.
//!
//! The client's defaults are unsafe for this work (it re-sends writes whose reply was lost, keeps dead connections,
//! leaves Nagle on); `live` sets every one of them, and no file outside this module names the client or a type of it.

// a host and its port
pub(crate) mod place;
// where it is, and how to log in
pub(crate) mod config;
// one connection for as long as the process lives
pub(crate) mod connection;
// its beginning
mod open;
// which server it leads to, where sentinels say that
pub(crate) mod sentinel;
// one that stays subscribed to a channel
pub(crate) mod subscription;
// one client of the library: how it is configured, opened and closed
mod live;
// why no connection comes about
mod refusal;
// what a failed call means
pub(crate) mod error;
// whether a server may lose data
pub(crate) mod server;
// its clock, between its answers
pub mod server_clock;
// arguments and replies
pub(crate) mod value;
// commands, each with its types
pub(crate) mod commands;
// Lua, loaded once and called by hash
pub(crate) mod script;
// many calls of one script as one
pub(crate) mod coalesce;
// many strings as one argument
pub(crate) mod packed;

/// The name under which the client logs. What it has to say is said by us, in plain words.
pub(crate) const CLIENT_LOG: &str = "fred";

pub(crate) use coalesce::Coalescer;
pub use config::{Address, Config};
pub use connection::{Connection, Role};
pub use error::{Kind, RedisError};
pub use place::HostPort;
pub(crate) use script::{Script, Source};
pub use sentinel::Master;
pub use subscription::{Standing, Subscription, SubscriptionState};
pub use value::{FromValue, Key, Value};
