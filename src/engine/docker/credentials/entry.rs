//! A credential in one text: `user:password`, or JSON as Docker writes it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::login::Login;
use crate::secret::Secret;

/// With or without padding: both are found in files.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One registry's entry in Docker's configuration file. Not `Debug`: it is made of secrets.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl Entry {
    /// Who it says that we are; none where it says nothing, as the entry of a registry whose credentials a helper keeps.
    pub(super) fn login(self) -> Result<Option<Login>, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::Identity(Secret::new(self.identitytoken))));
        }
        if !self.username.is_empty() {
            return Ok(Some(Login::Password { user: self.username, password: Secret::new(self.password) }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let decoded = BASE64.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or("has an `auth` that is not Base64 of a text")?;
        pair(decoded.trim_end_matches('\0')).map(Some).ok_or("has an `auth` that does not hold `user:password`")
    }
}

/// What the file of one registry says.
pub(super) fn of_file(text: &str) -> Result<Login, &'static str> {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim_start().starts_with('{') {
        let entry: Entry = serde_json::from_str(text).map_err(|_| "holds JSON that cannot be read")?;
        return entry.login()?.ok_or("has neither `username`, `identitytoken` nor `auth`");
    }
    if text.contains('\n') {
        return Err("has more than one line; it must hold `user:password` or JSON");
    }
    pair(text).ok_or("must hold `user:password` or JSON")
}

fn pair(text: &str) -> Option<Login> {
    let (user, password) = text.split_once(':')?;
    let login = Login::Password { user: user.to_owned(), password: Secret::new(password) };
    (!user.is_empty() && !password.is_empty()).then_some(login)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Login {
        Login::Password { user: user.to_owned(), password: Secret::new(password) }
    }

    #[test]
    fn a_file_holds_a_pair_or_json() {
        for (text, expected) in [
            ("ann:sesame\n", Ok(password("ann", "sesame"))),
            ("ann:se:same", Ok(password("ann", "se:same"))),
            (r#"{"username":"ann","password":"sesame"}"#, Ok(password("ann", "sesame"))),
            (r#"{"auth":"YW5uOnNlc2FtZQ=="}"#, Ok(password("ann", "sesame"))),
            (r#"{"auth":"YW5uOnNlc2FtZQ"}"#, Ok(password("ann", "sesame"))),
            (r#"{"identitytoken":"t"}"#, Ok(Login::Identity(Secret::new("t")))),
            ("sesame", Err("must hold `user:password` or JSON")),
            (":sesame", Err("must hold `user:password` or JSON")),
            ("a:b\nc:d", Err("has more than one line; it must hold `user:password` or JSON")),
            (r#"{"auth":"!"}"#, Err("has an `auth` that is not Base64 of a text")),
            (r#"{"auth":"c2VzYW1l"}"#, Err("has an `auth` that does not hold `user:password`")),
            ("{}", Err("has neither `username`, `identitytoken` nor `auth`")),
            ("{sesame", Err("holds JSON that cannot be read")),
        ] {
            assert_eq!(of_file(text), expected, "{text}");
        }
    }
}
