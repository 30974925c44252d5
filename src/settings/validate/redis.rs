//! How to reach Redis. Nothing here may put a password into a problem.

use std::path::Path;

use super::{Check, Read, tls};
use crate::settings::RedisSettings;
use crate::settings::file::read_text;
use crate::settings::redis_url::RedisUrl;
use crate::settings::secret::{of_broken_url, of_missing_file};
use crate::tls::Tls;

/// No password is longer; a larger file is a mistake in the path.
const PASSWORD_BYTES_MAX: u64 = 16 << 10;

pub(super) fn settings(check: &mut Check) -> Option<RedisSettings> {
    let url = url(check);
    let password = password_in_file(check);
    let tls = redis_tls(check, url.as_ref());
    let (mut url, password) = (url?, password?);
    let password_file = password.is_some().then(|| check.text_of("redis-password-file"));
    match password {
        Some(_) if url.has_password() => {
            let file = check.quoted("redis-password-file");
            check.refuse("redis-url", format!("holds a password, and so does {file}; remove one of them"));
        }
        Some(password) => url.set_password(password),
        None if url.has_user() && !url.has_password() => {
            // What stands for a user may be a password without its colon.
            check.show("redis-url", of_broken_url(&check.text_of("redis-url")));
            check.refuse(
                "redis-url",
                "names a user without a password; write redis://USER:PASSWORD@HOST, redis://:PASSWORD@HOST for a \
                 password alone, or set redis-password-file",
            );
        }
        None => {}
    }
    check.show("redis-url", url.display());
    Some(RedisSettings {
        display_url: url.display(),
        url: url.client(),
        password_file,
        tls: tls?,
        is_local: url.is_local(),
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
    // The URL is not quoted: what stands for its user may be a password.
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

/// The password in a file. Errors are the rest of a sentence and name nothing of its contents.
pub fn read_password(path: &str) -> Result<String, String> {
    let text = read_text(path, PASSWORD_BYTES_MAX)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    if password.is_empty() {
        return Err("holds no password: the file is empty".to_owned());
    }
    if password.contains('\n') {
        return Err("holds more than one line; a password is one line".to_owned());
    }
    Ok(password.to_owned())
}
