//! How to reach Redis. Nothing here may put a password into a problem.

use std::path::Path;

use super::check::{Check, Read};
use super::tls;
use crate::redis::config::{Config, read_password};
use crate::secret::Secret;
use crate::secret::{of_broken_url, of_missing_file};
use crate::settings::redis_url::RedisUrl;
use crate::tls::Tls;

pub(super) fn settings(check: &mut Check) -> Option<Config> {
    let url = url(check);
    let password = password_in_file(check);
    let tls = redis_tls(check, url.as_ref());
    let (mut url, password) = (url?, password?);
    let password_file = password.is_some().then(|| check.text_of("redis-password-file"));
    match password {
        Some(_) if url.password.is_some() => {
            let file = check.quoted("redis-password-file");
            check.refuse("redis-url", format!("holds a password, and so does {file}; remove one of them"));
        }
        Some(password) => url.password = Some(password),
        None if url.user.is_some() && url.password.is_none() => {
            // What looks like a user may be a password without its colon.
            check.show("redis-url", of_broken_url(&check.text_of("redis-url")));
            check.refuse(
                "redis-url",
                "names a user without a password; write redis://USER:PASSWORD@HOST, redis://:PASSWORD@HOST for a \
                 password alone, or set redis-password-file",
            );
        }
        None => {}
    }
    let display_url = url.display();
    check.show("redis-url", display_url.as_str());
    let RedisUrl { address, database, user, password, .. } = url;
    let password = password.map(Secret::new);
    Some(Config { display_url, address, database, user, password, password_file, tls: tls? })
}

fn redis_tls(check: &mut Check, url: Option<&RedisUrl>) -> Read<Option<Tls>> {
    let files = tls::REDIS;
    // A URL that cannot be read is the problem to solve first.
    let url = url?;
    if url.is_encrypted() {
        return files.read(check).map(Some);
    }
    let Some(name) = files.given(check) else { return Some(None) };
    // The URL is not quoted: what looks like its user may be a password.
    check.refuse(
        name,
        "is for an encrypted connection, but redis-url is not encrypted; write rediss:// there, or unset this",
    );
    None
}

fn url(check: &mut Check) -> Option<RedisUrl> {
    let text = check.text_of("redis-url");
    match RedisUrl::parse(&text) {
        Ok(url) => {
            check.show("redis-url", url.display());
            Some(url)
        }
        Err(advice) => {
            check.show("redis-url", of_broken_url(&text));
            check.refuse("redis-url", advice);
            None
        }
    }
}

fn password_in_file(check: &mut Check) -> Read<Option<String>> {
    const NAME: &str = "redis-password-file";
    let path = check.text_of(NAME);
    if path != "none" && !Path::new(&path).exists() {
        check.show(NAME, of_missing_file(&path));
    }
    check.parsed(NAME, password)
}

fn password(path: &str) -> Result<Option<String>, String> {
    if path == "none" { Ok(None) } else { read_password(path).map(Some) }
}
