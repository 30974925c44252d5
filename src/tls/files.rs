//! Certificates and keys in PEM form, and the configuration made of them.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Whose signature a server's certificate must carry.
#[derive(Debug)]
pub(crate) enum Roots {
    /// Of these authorities and no other.
    Own(Vec<CertificateDer<'static>>),
    /// Of those that the system trusts.
    System,
}

/// What shows a server who we are.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Our certificate, then those between it and the authority.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub(crate) key: PrivateKeyDer<'static>,
}

/// What is wrong with a file or with what two of them are to each other, as the rest of a sentence that begins with the
/// setting. Quotes nothing: a file may be a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    /// No PEM block of a certificate.
    #[error("holds no certificate; it must be in PEM form, with -----BEGIN CERTIFICATE----- before it")]
    NoCertificate,
    /// A PEM block that is cut short or not Base64.
    #[error("is damaged: a PEM block in it cannot be read")]
    Damaged,
    /// A certificate that is none.
    #[error("holds a certificate that cannot be read")]
    NotUnderstood,
    /// No PEM block of a private key.
    #[error("holds no private key; it must be in PEM form, with -----BEGIN PRIVATE KEY----- before it")]
    NoKey,
    /// A private key behind a passphrase.
    #[error("is encrypted with a passphrase; `openssl pkey -in FILE -out FILE` writes it without one")]
    EncryptedKey,
    /// A key of a kind that is not used in TLS, or too short.
    #[error("holds a private key of an unsupported kind; RSA, ECDSA (P-256, P-384) and Ed25519 are supported")]
    UnusableKey,
    /// The certificate is of another key.
    #[error("holds a private key that does not belong to the certificate")]
    OtherKey,
    /// There is no authority to trust.
    #[error("must be set: this system has no root certificates to trust instead")]
    NoSystemRoots,
}

/// Every certificate in a file, in its order; at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(FileError::NoCertificate),
        Ok(found) => Ok(found),
        Err(PemError::NoItemsFound) => Err(FileError::NoCertificate),
        Err(_) => Err(FileError::Damaged),
    }
}

/// The first private key in a file.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileError> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) if is_encrypted(pem) => Err(FileError::EncryptedKey),
        Err(PemError::NoItemsFound) => Err(FileError::NoKey),
        Err(_) => Err(FileError::Damaged),
    }
}

fn is_encrypted(pem: &[u8]) -> bool {
    const MARK: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
    pem.windows(MARK.len()).any(|window| window == MARK)
}

pub(super) fn config(roots: Roots, identity: Option<Identity>) -> Result<ClientConfig, FileError> {
    let trusted = match roots {
        Roots::Own(certificates) => own_roots(certificates)?,
        Roots::System => system_roots()?,
    };
    // Named, because the process may have no default.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(trusted);
    let Some(Identity { chain, key }) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    builder.with_client_auth_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => FileError::OtherKey,
        rustls::Error::InvalidCertificate(_) => FileError::NotUnderstood,
        _ => FileError::UnusableKey,
    })
}

fn own_roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|_| FileError::NotUnderstood)?;
    }
    Ok(roots)
}

/// One of hundreds that cannot be read is no reason to stop; none at all is.
fn system_roots() -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(FileError::NoSystemRoots) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pem_is_said_without_being_quoted() {
        assert_eq!(certificates(b""), Err(FileError::NoCertificate));
        assert_eq!(certificates(&[0x30, 0x82, 0xff, 0x00]), Err(FileError::NoCertificate));
        assert_eq!(certificates(b"-----BEGIN CERTIFICATE-----\n????\n"), Err(FileError::Damaged));
        let bare = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let certificates = certificates(bare).expect("PEM of something");
        assert_eq!(config(Roots::Own(certificates), None).expect_err("no certificate"), FileError::NotUnderstood);
        assert_eq!(private_key(bare).expect_err("no key"), FileError::NoKey);
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(private_key(encrypted).expect_err("no key"), FileError::EncryptedKey);
    }
}
