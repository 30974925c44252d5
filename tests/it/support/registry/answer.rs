//! What a request is answered with.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::image::{Image, MANIFEST, digest_of};
use super::serve::Asked;
use super::{Fault, RetryAfter, Shared};

/// A head and a body, and how the body comes.
pub(super) struct Answer {
    pub(super) status: u16,
    kind: &'static str,
    headers: String,
    body: Arc<Vec<u8>>,
    /// Where in the body it begins, for a client that already has the rest.
    from: usize,
    pub(super) course: Course,
}

/// How a body comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    Whole,
    /// Half of it, and the rest when this is no longer wrong.
    Halts(Fault),
    /// Half of it, and the end of the connection.
    Cut,
    /// So many bytes at a time, so far apart.
    Slow(usize, Duration),
}

impl Answer {
    pub(super) fn to(shared: &Shared, asked: &Asked) -> Self {
        let path = asked.path.split('?').next().unwrap_or_default();
        let query = asked.path.split_once('?').map_or("", |(_, query)| query);
        if path == "/token" {
            return Self::token(shared, asked, query);
        }
        let repository = asked.repository();
        if let Some(access) = &shared.access
            && let Some(status) = access.refuses(&asked.authorization, repository)
        {
            let challenge = format!("WWW-Authenticate: {}\r\n", access.challenge(&shared.address.to_string()));
            return Self { headers: challenge, ..Self::error(status) };
        }
        let Some(repository) = repository else {
            return if path == "/v2/" { Self::json(b"{}".to_vec()) } else { Self::error(404) };
        };
        let rest = path.strip_prefix("/v2/").and_then(|rest| rest.strip_prefix(repository));
        let rest = rest.and_then(|rest| rest.strip_prefix('/')).and_then(|rest| rest.split_once('/'));
        match rest {
            Some(("manifests", reference)) => Self::manifest(shared, repository, reference),
            Some(("blobs", digest)) => Self::blob(shared, repository, digest).from(asked.range_from),
            _ => Self::error(404),
        }
    }

    fn token(shared: &Shared, asked: &Asked, query: &str) -> Self {
        let Some(access) = &shared.access else { return Self::error(404) };
        match access.token(&asked.authorization, query, &asked.body) {
            Ok(token) => Self::json(json!({"token": token, "access_token": token}).to_string().into_bytes()),
            Err(status) => Self::error(status),
        }
    }

    fn manifest(shared: &Shared, name: &str, reference: &str) -> Self {
        let mut repositories = shared.repositories();
        let Some(repository) = repositories.get_mut(name) else {
            return match prepared(name) {
                Ok((image, _)) => Self::of(MANIFEST, image.manifest),
                Err(status) => Self::error(status),
            };
        };
        if let Some((left @ 1.., retry_after)) = &mut repository.limit {
            *left -= 1;
            return Self::limited(*retry_after);
        }
        let by_digest = repository.images.iter().find(|image| image.digest() == reference);
        let Some(image) = repository.tags.get(reference).or(by_digest) else {
            return Self::error(404);
        };
        match repository.fault {
            Some(Fault::EmptyManifest) => Self::of(MANIFEST, Arc::new(b"{}".to_vec())),
            // Still a manifest, with one byte more.
            Some(Fault::WrongManifest) => Self::of(MANIFEST, Arc::new([&**image.manifest, b" "].concat())),
            Some(fault @ Fault::HangInManifest) => {
                Self { course: Course::Halts(fault), ..Self::of(MANIFEST, Arc::clone(&image.manifest)) }
            }
            _ => Self::of(MANIFEST, Arc::clone(&image.manifest)),
        }
    }

    fn blob(shared: &Shared, name: &str, digest: &str) -> Self {
        const BYTES: &str = "application/octet-stream";
        let (images, fault) = match shared.repositories().get(name) {
            Some(repository) => (repository.images.clone(), repository.fault),
            None => match prepared(name) {
                Ok((image, fault)) => (vec![image], fault),
                Err(status) => return Self::error(status),
            },
        };
        let wrong = |bytes: &[u8]| Self::of(BYTES, Arc::new(vec![b'x'; bytes.len()]));
        if let Some(image) = images.iter().find(|image| digest_of(&image.config) == digest) {
            return match fault {
                Some(Fault::WrongConfig) => wrong(&image.config),
                _ => Self::of(BYTES, Arc::clone(&image.config)),
            };
        }
        let Some(layer) = images.iter().flat_map(|image| &image.layers).find(|layer| digest_of(layer) == digest) else {
            return Self::error(404);
        };
        let whole = Self::of(BYTES, Arc::clone(layer));
        match fault {
            Some(Fault::LayerStatus(status)) => Self::error(status),
            Some(Fault::WrongLayer) => wrong(layer),
            Some(Fault::CutLayer) => Self { course: Course::Cut, ..whole },
            Some(fault @ Fault::HangInLayer) => Self { course: Course::Halts(fault), ..whole },
            Some(Fault::SlowLayer(bytes, every)) => Self { course: Course::Slow(bytes, every), ..whole },
            _ => whole,
        }
    }

    /// The part that begins here.
    fn from(mut self, from: Option<usize>) -> Self {
        if let Some(from @ 1..) = from
            && self.status == 200
            && from < self.body.len()
        {
            let last = self.body.len() - 1;
            self.headers = format!("Content-Range: bytes {from}-{last}/{}\r\n", self.body.len());
            self.status = 206;
            self.from = from;
        }
        self
    }

    fn of(kind: &'static str, body: Arc<Vec<u8>>) -> Self {
        Self { status: 200, kind, headers: String::new(), body, from: 0, course: Course::Whole }
    }

    fn json(body: Vec<u8>) -> Self {
        Self::of("application/json", Arc::new(body))
    }

    fn error(status: u16) -> Self {
        let code = match status {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            404 => "NAME_UNKNOWN",
            429 => "TOOMANYREQUESTS",
            503 => "UNAVAILABLE",
            _ => "UNKNOWN",
        };
        let body = json!({"errors": [{"code": code, "message": format!("made up {status}")}]});
        Self { status, ..Self::json(body.to_string().into_bytes()) }
    }

    fn limited(retry_after: RetryAfter) -> Self {
        let headers = match retry_after {
            RetryAfter::Unsaid => String::new(),
            RetryAfter::Seconds(seconds) => format!("Retry-After: {seconds}\r\n"),
            RetryAfter::At(time) => format!("Retry-After: {}\r\n", http_date(time)),
        };
        Self { headers, ..Self::error(429) }
    }

    pub(super) fn head(&self) -> String {
        format!(
            "HTTP/1.1 {} Made-Up\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Type: {}\r\n\
             Docker-Content-Digest: {}\r\n{}Content-Length: {}\r\n\r\n",
            self.status,
            self.kind,
            digest_of(&self.body),
            self.headers,
            self.body().len(),
        )
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body[self.from..]
    }
}

/// The image and the fault of a repository that needs no preparation; the status of others.
fn prepared(name: &str) -> Result<(Image, Option<Fault>), u16> {
    match name.split_once('/') {
        Some(("ok", _)) => Ok((Image::tiny(), None)),
        Some(("corrupt", _)) => Ok((Image::tiny(), Some(Fault::WrongLayer))),
        Some((status, _)) => Err(status.strip_prefix('s').and_then(|status| status.parse().ok()).unwrap_or(404)),
        None => Err(404),
    }
}

/// A time as HTTP writes it, `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March end with the day that not every year has.
    let since_march_0 = days + 719_468;
    let (era, of_era) = (since_march_0 / 146_097, since_march_0 % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    let index = |number: u64| usize::try_from(number).expect("it is small");
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[index(days % 7)],
        MONTHS[index(month)],
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}
