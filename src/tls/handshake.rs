//! What a handshake that failed means, in words that name what to check.
//!
//! The Redis client passes such an error on only as text, so it is recognised by the names of the TLS library's error
//! variants; `tests/it/encrypted` sees each of the common ones from a real server.

use std::error::Error;

use super::Tls;

/// What is to be looked at.
#[derive(Debug, Clone, Copy)]
enum Check {
    /// The trusted authorities.
    Authority,
    /// Host name and subjectAltName.
    Name,
    /// The server's own files; the text says it all.
    Server,
    /// Our certificate, or that there is none.
    Identity,
    /// The port, and whether TLS is spoken there.
    Port,
}

/// The first that occurs in an error decides: the more specific ones come first.
const MEANINGS: &[(&str, &str, Check)] = &[
    ("UnknownIssuer", "the server's certificate is not signed by a trusted authority", Check::Authority),
    // By one of the same name, made anew, say.
    ("BadSignature", "the server's certificate is not signed by a trusted authority", Check::Authority),
    ("NotValidForName", "the server's certificate is for another name than the requested host", Check::Name),
    ("NotValidYet", "the server's certificate is not valid yet: check it, and both clocks", Check::Server),
    (
        "InvalidCertificate(Expired",
        "the server's certificate has expired: renew it, and check both clocks",
        Check::Server,
    ),
    (
        "CaUsedAsEndEntity",
        "the server uses the certificate of an authority: give it a server certificate",
        Check::Server,
    ),
    (
        "UnsupportedCertVersion",
        "the server's certificate is of version 1, without a subjectAltName: make a new one",
        Check::Server,
    ),
    (
        "InvalidPurpose",
        "the server's certificate is not made for servers (extendedKeyUsage): make a new one",
        Check::Server,
    ),
    ("InvalidCertificate", "the server's certificate cannot be accepted", Check::Server),
    ("AlertReceived(CertificateRequired", "the server", Check::Identity),
    ("AlertReceived(UnknownCA", "the server", Check::Identity),
    ("AlertReceived(BadCertificate", "the server", Check::Identity),
    ("AlertReceived(CertificateUnknown", "the server", Check::Identity),
    ("AlertReceived(CertificateExpired", "the server", Check::Identity),
    ("AlertReceived(CertificateRevoked", "the server", Check::Identity),
    ("AlertReceived(UnsupportedCertificate", "the server", Check::Identity),
    ("AlertReceived(AccessDenied", "the server", Check::Identity),
    // TLS 1.2 has no word of its own for a missing client certificate.
    ("AlertReceived(HandshakeFailure", "the server", Check::Identity),
    ("AlertReceived(ProtocolVersion", "the server does not support TLS 1.2 or 1.3", Check::Server),
    ("AlertReceived(", "the server refused the handshake", Check::Server),
    ("PeerIncompatible", "the server and this program have no version or cipher in common", Check::Server),
    ("InvalidContentType", "the server there does not speak TLS", Check::Port),
    ("CorruptMessage", "the server there does not speak TLS", Check::Port),
    ("tls handshake eof", "the connection was closed during the handshake", Check::Port),
    ("PeerMisbehaved", "the server there violates the TLS protocol", Check::Port),
    ("InvalidMessage", "the server there does not speak TLS", Check::Port),
];

impl Tls {
    /// What this error of a connection means, if it is one of TLS.
    pub(crate) fn explain(&self, error: &str) -> Option<String> {
        let (name, what, check) = MEANINGS.iter().find(|(name, _, _)| error.contains(name))?;
        let place = self.peer.place();
        let advice = match (check, self.peer.prefix()) {
            (Check::Server, _) => (*what).to_owned(),
            (Check::Name, _) => {
                format!("{what}; check {place}, or make the certificate with that name as subjectAltName")
            }
            (Check::Port, _) => format!("{what}; check the port in {place}, and that the server has TLS on"),
            (Check::Authority, Some(prefix)) if self.has_own_roots => format!("{what}; check {prefix}-tls-ca-file"),
            (Check::Authority, Some(prefix)) => format!("{what}; name its authority with {prefix}-tls-ca-file"),
            (Check::Authority, None) => format!("{what}; name its authority with SSL_CERT_FILE"),
            (Check::Identity, Some(prefix)) if self.has_identity => format!(
                "{what} does not accept our certificate; check {prefix}-tls-cert-file, and which authority the server \
                 trusts for clients"
            ),
            (Check::Identity, Some(prefix)) => {
                format!("{what} requires a client certificate; set {prefix}-tls-cert-file and {prefix}-tls-key-file")
            }
            (Check::Identity, None) => format!("{what} requires a client certificate, and none can be given to it"),
        };
        let name = name.trim_end_matches('(').replace("AlertReceived(", "alert ").replace("InvalidCertificate(", "");
        Some(format!("the TLS handshake failed ({name}): {advice}"))
    }

    /// The same of a typed error.
    pub(crate) fn explain_causes(&self, error: &(dyn Error + 'static)) -> Option<String> {
        variant(error).and_then(|variant| self.explain(&variant))
    }
}

/// The TLS library's own error among the causes of another, by the name of its variant: what it says of itself is worded
/// otherwise.
pub(crate) fn variant(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return Some(format!("{error:?}"));
        }
        // An I/O error does not name the error that it was made of as its source.
        let made_of = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match made_of {
            Some(made_of) => Some(made_of),
            None => inner.source(),
        };
    }
    None
}
