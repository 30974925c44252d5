//! The page: whether it is served, under which names, and who may change something on it.

use std::net::SocketAddr;

use super::check::{Check, Read};
use super::parse;
use crate::page::config::{Config, Serve};

/// Names that are looked for in a Host header.
const NAMES_MAX: usize = 32;
/// Characters of a name in DNS.
const NAME_MAX: usize = 253;

pub(super) fn settings(check: &mut Check, http_addr: Read<Option<SocketAddr>>) -> Option<Config> {
    let serve = check.choice("page", &[("auto", Serve::Auto), ("on", Serve::On), ("off", Serve::Off)]);
    // An address that cannot be read is the problem to solve first.
    let has_address = http_addr.is_none_or(|address| address.is_some());
    if serve == Some(Serve::On) && !has_address {
        check.refuse("page", "needs an http-addr, where it is served; set that, or page = off");
    }
    let hosts = check.parsed("page-host", hosts);
    // The file is read where it is needed: a probe must not fail for one that is missing.
    let token_file = check.parsed("admin-token-file", token_file);
    Some(Config { serve: serve?, hosts: hosts?, token_file: token_file? })
}

fn token_file(text: &str) -> Result<Option<String>, String> {
    match text {
        "none" => Ok(None),
        "" => Err("must not be empty; name the file, or write none for a page that only shows".to_owned()),
        _ => parse::text(text).map(Some),
    }
}

fn hosts(text: &str) -> Result<Vec<String>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    if names.len() > NAMES_MAX {
        return Err(format!("has more than {NAMES_MAX} names"));
    }
    names.into_iter().map(host).collect()
}

fn host(name: String) -> Result<String, String> {
    if name.is_empty() {
        return Err("must not be empty; write names such as ops.example, separated by commas, or none".to_owned());
    }
    if name.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("has a name with a port; write it without its port, since every port is accepted".to_owned());
    }
    let is_name =
        name.len() <= NAME_MAX && name.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(letter));
    if is_name { Ok(name) } else { Err("must be names of letters, digits, dots and dashes".to_owned()) }
}
