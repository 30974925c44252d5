//! Who may ask for the page and for the fleet as JSON: those who were sent here by an address or an allowed name, and
//! nothing that another site makes a browser send.
//!
//! A site of an attacker may let its own name lead to this address, and a browser on the network then asks here with
//! that name as Host. So only addresses, localhost, and the names that `page-host` allows are answered. Probes and
//! metrics answer to every Host.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The names of hosts under which the page may be opened.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Vec<String>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is no Host, or more than one.
    #[error("the request must name one Host")]
    NoHost,
    /// Nothing of the fleet is shown under that name.
    #[error(
        "the fleet is not shown under this name; use the address of the machine, or add the name to the setting \
         page-host"
    )]
    Host,
    /// Another site has sent the browser here.
    #[error("another site has made this request; open the page itself")]
    Origin,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
        };
        (status, [(header::CONNECTION, "close")], format!("{self}\n")).into_response()
    }
}

impl Guard {
    /// With these names, in small letters.
    pub(crate) fn new(hosts: &[String]) -> Self {
        Self { hosts: hosts.to_vec() }
    }

    /// Is the request for us?
    pub(crate) fn host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = one(headers, &header::HOST)?.ok_or(Refusal::NoHost)?;
        let name = without_port(host).to_ascii_lowercase();
        let is_ours = is_address(&name) || name == "localhost" || self.hosts.contains(&name);
        if is_ours { Ok(()) } else { Err(Refusal::Host) }
    }

    /// The same of a question that programs ask: a browser always names a Host.
    pub(crate) fn host_if_any(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.contains_key(header::HOST) { self.host(headers) } else { Ok(()) }
    }

    /// Where the request says which site made it, is it this one?
    pub(crate) fn origin(headers: &HeaderMap) -> Result<(), Refusal> {
        let host = one(headers, &header::HOST)?.ok_or(Refusal::NoHost)?;
        match one(headers, &header::ORIGIN).map_err(|_| Refusal::Origin)? {
            None => Ok(()),
            Some(origin) => {
                let authority = origin.split_once("://").map(|(_, authority)| authority);
                let is_same = authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host));
                if is_same { Ok(()) } else { Err(Refusal::Origin) }
            }
        }
    }

    /// The same of a request that changes something: the browser must say which site made it.
    pub(crate) fn own_form(headers: &HeaderMap) -> Result<(), Refusal> {
        if !headers.contains_key(header::ORIGIN) {
            return Err(Refusal::Origin);
        }
        Self::origin(headers).and_then(|()| Self::same_site(headers))
    }

    /// Did the page itself make the request, as far as the browser says? A link from elsewhere may open a screen, but
    /// nothing else.
    pub(crate) fn same_site(headers: &HeaderMap) -> Result<(), Refusal> {
        const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
        let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
        if matches!(site, None | Some(b"same-origin" | b"none")) { Ok(()) } else { Err(Refusal::Origin) }
    }
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.to_str().map_err(|_| Refusal::NoHost)).transpose()?;
    if values.next().is_some() { Err(Refusal::NoHost) } else { Ok(first) }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// No name can be made to lead elsewhere where there is none.
fn is_address(name: &str) -> bool {
    let six = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    name.parse::<Ipv4Addr>().is_ok() || six.is_some_and(|six| six.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_addresses_localhost_and_allowed_names_are_hosts() {
        let guard = Guard::new(&["ops.example".to_owned()]);
        for host in ["127.0.0.1", "10.0.0.7:9100", "[::1]:9100", "localhost", "LocalHost:80", "OPS.example:8443"] {
            assert_eq!(guard.host(&headers(&[("host", host)])), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "x@127.0.0.1", "::1", "0x7f.1"]
        {
            assert_eq!(guard.host(&headers(&[("host", host)])), Err(Refusal::Host), "{host}");
        }
        assert_eq!(guard.host(&HeaderMap::new()), Err(Refusal::NoHost));
        assert_eq!(guard.host_if_any(&HeaderMap::new()), Ok(()));
        assert_eq!(guard.host_if_any(&headers(&[("host", "evil.example")])), Err(Refusal::Host));
        let mut two = headers(&[("host", "localhost")]);
        two.append("host", HeaderValue::from_static("evil.example"));
        assert_eq!(guard.host(&two), Err(Refusal::NoHost));
    }

    #[test]
    fn an_origin_must_be_the_host() {
        let of = |origin| Guard::origin(&headers(&[("host", "10.0.0.7:9100"), ("origin", origin)]));
        assert_eq!((of("http://10.0.0.7:9100"), of("https://10.0.0.7:9100")), (Ok(()), Ok(())));
        for origin in ["null", "http://evil.example", "http://10.0.0.7", "http://10.0.0.7:9100.evil.example", ""] {
            assert_eq!(of(origin), Err(Refusal::Origin), "{origin}");
        }
        assert_eq!(Guard::origin(&headers(&[("host", "x")])), Ok(()));
        let site = |site| Guard::same_site(&headers(&[("sec-fetch-site", site)]));
        assert_eq!((site("same-origin"), site("none")), (Ok(()), Ok(())));
        assert_eq!((site("cross-site"), site("same-site")), (Err(Refusal::Origin), Err(Refusal::Origin)));
    }
}
