//! How to reach Redis. Nothing here may put a password into a problem.

use std::path::Path;

use super::check::{Check, Read};
use super::{parse, tls};
use crate::redis::config::{Config, PasswordFile, SentinelAccess, read_password};
use crate::secret::Secret;
use crate::secret::{of_broken_url, of_missing_file};
use crate::settings::raw::Origin;
use crate::settings::redis_url::RedisUrl;
use crate::tls::Tls;

pub(super) fn settings(check: &mut Check) -> Option<Config> {
    let url = url(check);
    let password = password_in_file(check, PASSWORD_FILE);
    let tls = redis_tls(check, url.as_ref());
    let sentinel = sentinel_access(check, url.as_ref(), tls.as_ref());
    let (mut url, password) = (url?, password?);
    let password_file = password.is_some().then(|| file_of(check, PASSWORD_FILE));
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
    Some(Config { display_url, address, database, user, password, password_file, tls: tls?, sentinel: sentinel? })
}

const PASSWORD_FILE: &str = "redis-password-file";
const SENTINEL_USER: &str = "redis-sentinel-user";
const SENTINEL_PASSWORD_FILE: &str = "redis-sentinel-password-file";
const SENTINEL_TLS: &str = "redis-sentinel-tls";

fn file_of(check: &Check, setting: &'static str) -> PasswordFile {
    PasswordFile { setting, path: check.text_of(setting) }
}

/// How sentinels are asked.
fn sentinel_access(check: &mut Check, url: Option<&RedisUrl>, tls: Option<&Option<Tls>>) -> Read<SentinelAccess> {
    if url.is_some_and(|url| !url.names_sentinels()) {
        let given = [SENTINEL_USER, SENTINEL_PASSWORD_FILE, SENTINEL_TLS].into_iter();
        let Some(name) = given.into_iter().find(|name| check.origin(name) != Origin::Default) else {
            return Some(SentinelAccess::default());
        };
        check.refuse(
            name,
            "is for sentinels, but redis-url names a server; write redis-sentinel://HOST:26379/SERVICE there, or unset this",
        );
        return None;
    }
    let user = check.parsed(SENTINEL_USER, parse::text);
    let password = password_in_file(check, SENTINEL_PASSWORD_FILE);
    let is_encrypted = check.choice(SENTINEL_TLS, &[("same", true), ("off", false)]);
    // A URL that cannot be read is the problem to solve first.
    url?;
    let (user, password) = (user?, password?);
    let user = Some(user).filter(|user| user != "none");
    if user.is_some() && password.is_none() {
        check.refuse(SENTINEL_USER, format!("names a user without a password; set {SENTINEL_PASSWORD_FILE} too"));
        return None;
    }
    Some(SentinelAccess {
        user,
        password_file: password.is_some().then(|| file_of(check, SENTINEL_PASSWORD_FILE)),
        password: password.map(Secret::new),
        tls: if is_encrypted? { tls?.clone() } else { None },
        ..SentinelAccess::default()
    })
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

fn password_in_file(check: &mut Check, setting: &'static str) -> Read<Option<String>> {
    let path = check.text_of(setting);
    if path != "none" && !Path::new(&path).exists() {
        check.show(setting, of_missing_file(&path));
    }
    check.parsed(setting, password)
}

fn password(path: &str) -> Result<Option<String>, String> {
    if path == "none" { Ok(None) } else { read_password(path).map(Some) }
}
