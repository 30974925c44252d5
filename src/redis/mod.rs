//! The only place that knows the Redis client: connections, scripts, and what its errors mean for us.
//!
//! The client's defaults are unsafe for this work (it re-sends writes whose reply was lost, keeps dead connections,
//! leaves Nagle on); `live` sets every one of them, and nothing outside this module touches the client.

// where it is, and how to log in
pub mod config;
// one connection for as long as the process lives
pub mod connection;
// one client of the library: how it is configured, opened and closed
mod live;
// why no connection comes about
mod refusal;
// what a failed call means
pub mod error;
// what about a server endangers the data
pub mod server;
// Lua, loaded once and called by hash
pub mod script;
// many calls of one script as one
pub mod coalesce;
// many strings as one argument
pub mod packed;

pub use coalesce::Coalescer;
pub use config::{Address, Config};
pub use connection::{Connection, Role};
pub use error::{Kind, RedisError};
pub use fred::types::{Key, Value};
pub use script::Script;
