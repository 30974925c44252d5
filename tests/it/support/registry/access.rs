//! Who may read a guarded registry, and what the others are told.

/// How a client shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// With its name and password in each request.
    Basic,
    /// With a token, for which it shows its name and password, or an identity token, elsewhere.
    Bearer,
}

/// The one who may read.
#[derive(Debug, Clone)]
pub struct Access {
    pub scheme: Scheme,
    pub user: String,
    /// The password, and the identity token as well.
    pub password: String,
    /// The status for others who say who they are: 401 or 403. Who says nothing is told 401 and how to.
    pub refusal: u16,
}

impl Access {
    pub fn new(scheme: Scheme, user: &str, password: &str) -> Self {
        Self { scheme, user: user.to_owned(), password: password.to_owned(), refusal: 401 }
    }

    /// The value of the header that tells a client how to show who it is.
    pub(super) fn challenge(&self, registry: &str) -> String {
        match self.scheme {
            Scheme::Basic => r#"Basic realm="made up""#.to_owned(),
            Scheme::Bearer => format!(r#"Bearer realm="http://{registry}/token",service="made-up""#),
        }
    }

    /// The status that this `Authorization` is refused with, for a request of this repository (none of the ping).
    pub(super) fn refuses(&self, authorization: &str, repository: Option<&str>) -> Option<u16> {
        let is_known = match (self.scheme, repository) {
            (Scheme::Basic, _) => authorization == self.basic(),
            (Scheme::Bearer, Some(repository)) => authorization == format!("Bearer {}", token_of(repository)),
            (Scheme::Bearer, None) => authorization.starts_with("Bearer "),
        };
        match is_known {
            true => None,
            false if authorization.is_empty() => Some(401),
            false => Some(self.refusal),
        }
    }

    /// The token for a request of one, or the status that it is refused with. The request's `scope` is in the query, or
    /// in a form with an identity token.
    pub(super) fn token(&self, authorization: &str, query: &str, form: &str) -> Result<String, u16> {
        let scope = value(query, "scope").or_else(|| value(form, "scope")).unwrap_or_default();
        let repository = scope.strip_prefix("repository:").and_then(|scope| scope.strip_suffix(":pull"));
        let service = value(query, "service").or_else(|| value(form, "service"));
        if service.as_deref() != Some("made-up") {
            return Err(400);
        }
        if authorization == self.basic() || value(form, "refresh_token").as_deref() == Some(&self.password) {
            return Ok(token_of(repository.ok_or(400_u16)?));
        }
        // As Docker Hub does: a token that is good for nothing here.
        if authorization.is_empty() && form.is_empty() { Ok("anonymous".to_owned()) } else { Err(self.refusal) }
    }

    fn basic(&self) -> String {
        format!("Basic {}", base64(format!("{}:{}", self.user, self.password).as_bytes()))
    }
}

fn token_of(repository: &str) -> String {
    format!("may-read-{}", repository.replace('/', "-"))
}

/// A value of a query or a form.
fn value(text: &str, name: &str) -> Option<String> {
    let coded = text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut decoded = Vec::new();
    let mut bytes = coded.bytes();
    while let Some(byte) = bytes.next() {
        let hexadecimal = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => u8::try_from(hexadecimal(bytes.next())? * 16 + hexadecimal(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let padded = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = padded.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        for place in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * place) & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
