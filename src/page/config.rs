//! What an operator decides about the page.

use std::net::SocketAddr;

/// What an operator decides about the page.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether it is served.
    pub serve: Serve,
    /// Names under which it may be opened besides addresses and localhost, in small letters, without ports.
    pub hosts: Vec<String>,
    /// The file with the token of those who may change something; none: the page only shows.
    pub token_file: Option<String>,
}

/// Whether the page is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    /// Where only this machine reaches it.
    Auto,
    /// Everywhere.
    On,
    /// Nowhere.
    Off,
}

impl Config {
    /// Is it served on this address?
    pub(crate) fn is_served_on(&self, address: SocketAddr) -> bool {
        match self.serve {
            Serve::Auto => address.ip().is_loopback(),
            Serve::On => true,
            Serve::Off => false,
        }
    }
}
