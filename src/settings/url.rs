//! The parts that all our URLs share: host and port, and percent-encoding of credentials.
//!
//! Errors never quote what they were given: it may be a password in the place of a host.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

/// `HOST`, `HOST:PORT` or `[IPV6]:PORT`; the host keeps its brackets.
pub(super) fn host_and_port(authority: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("has an IPv6 address without its closing bracket")?;
        address.parse::<Ipv6Addr>().map_err(|_| "has brackets around something that is not an IPv6 address")?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or("has something between host and port")?),
        };
        (format!("[{address}]"), port)
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        if host.is_empty() {
            return Err("has no host".to_owned());
        }
        if !host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter)) {
            return Err("has a host with characters that no host name has".to_owned());
        }
        (host.to_owned(), port)
    };
    let port = match port {
        None => None,
        Some(digits) => Some(port_number(digits)?),
    };
    Ok((host, port))
}

fn port_number(digits: &str) -> Result<u16, String> {
    match digits.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("has a port that is not a number from 1 to 65535 (an IPv6 address needs brackets)".to_owned()),
    }
}

/// Every byte that is not unreserved becomes an escape, so that any text survives any URL parser.
pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The text behind percent escapes.
pub(super) fn percent_decode(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = bytes.next().zip(bytes.next());
        let escape = digits.and_then(|(high, low)| Some(hex(high)? << 4 | hex(low)?));
        decoded.push(escape.ok_or("has a % that begins no escape in its credentials; write it as %25")?);
    }
    String::from_utf8(decoded).map_err(|_| "has credentials that are not UTF-8".to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}
