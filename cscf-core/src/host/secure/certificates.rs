//! The certificates of a lab, read from its files and checked before anything runs.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::identity::SipServers;
use super::reasons;
use crate::config::{TlsConfig, TlsVersion};

/// What a host has for TLS: the certificate of its listeners, and whom it trusts.
#[derive(Clone, Debug)]
pub struct Tls {
    server: Option<Arc<ServerConfig>>,
    client: Arc<ClientConfig>,
    names: BTreeMap<SocketAddr, String>,
}

/// A file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
#[error("tls: {}: {reason}", file.display())]
pub struct TlsFault {
    /// The key under `tls` in the lab file that names it.
    pub key: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A file with the key under which the lab file has it.
type Named<'a> = (&'static str, &'a Path);

/// The file of a key, where there is one.
fn named<'a>(key: &'static str, file: &'a Option<PathBuf>) -> Option<Named<'a>> {
    file.as_deref().map(|file| (key, file))
}

impl TlsFault {
    fn new((key, file): Named<'_>, reason: impl Into<String>) -> Self {
        Self { key, file: file.to_owned(), reason: reason.into() }
    }
}

impl Tls {
    /// Reads the files of a lab and checks them.
    ///
    /// # Errors
    ///
    /// The first file that is of no use, and why: it cannot be read, holds no certificate, the key
    /// is not that of the certificate, or the certificate is not (or no longer) good under `ca`.
    pub fn read(config: &TlsConfig) -> Result<Self, TlsFault> {
        let provider = Arc::new(ring::default_provider());
        let certificate = named("certificate", &config.certificate);
        let own = pair(certificate, named("key", &config.key), &provider)?;
        let shown = named("client_certificate", &config.client_certificate);
        let client = pair(shown, named("client_key", &config.client_key), &provider)?;
        let roots = named("ca", &config.ca).map(roots).transpose()?;
        let roots = roots.unwrap_or_else(RootCertStore::empty);
        let servers = SipServers { roots, provider: Arc::clone(&provider) };
        if let (Some(own), Some(file), Some(_)) = (&own, certificate, &config.ca) {
            is_good(own, &servers)
                .map_err(|fault| TlsFault::new(file, reasons::of_file(&fault)))?;
        }
        let versions = versions(config.min_version);
        let server = match own {
            Some(own) => Some(Arc::new(listening(config, own, &provider, versions)?)),
            None => None,
        };
        let client = Arc::new(asking(servers, client, provider, versions)?);
        Ok(Self { server, client, names: BTreeMap::new() })
    }

    /// With the names under which servers at these addresses are to be certified; those that are
    /// not named, by their address.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = (SocketAddr, String)>) -> Self {
        self.names.extend(names);
        self
    }

    /// Whether it has a certificate to listen with.
    #[must_use]
    pub const fn listens(&self) -> bool {
        self.server.is_some()
    }

    pub(super) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.server.clone()
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    pub(super) fn name_of(&self, addr: SocketAddr) -> String {
        self.names.get(&addr).cloned().unwrap_or_else(|| addr.ip().to_string())
    }
}

const fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
    match min {
        TlsVersion::V1_2 => BOTH,
        TlsVersion::V1_3 => NEWEST,
    }
}

/// A certificate with its chain and key.
fn pair(
    certificate: Option<Named<'_>>,
    key: Option<Named<'_>>,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, TlsFault> {
    let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(None) };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key.1).map_err(|fault| match fault {
        pem::Error::NoItemsFound => TlsFault::new(key, "it holds no private key (PEM)"),
        other => TlsFault::new(key, unreadable(&other)),
    })?;
    let both = CertifiedKey::from_der(chain, secret, provider).map_err(|fault| match fault {
        Error::InconsistentKeys(_) => TlsFault::new(
            key,
            format!("it is not the key of the certificate in {}", certificate.1.display()),
        ),
        other => TlsFault::new(key, format!("no key to sign with: {}", reasons::of_file(&other))),
    })?;
    Ok(Some(Arc::new(both)))
}

fn certificates(file: Named<'_>) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |fault| TlsFault::new(file, unreadable(&fault));
    let list = CertificateDer::pem_file_iter(file.1).map_err(fault)?;
    let list = list.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    if list.is_empty() {
        return Err(TlsFault::new(file, "it holds no certificate (PEM)"));
    }
    Ok(list)
}

fn unreadable(fault: &pem::Error) -> String {
    match fault {
        pem::Error::Io(fault) => match fault.kind() {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
            _ => format!("it cannot be read: {fault}"),
        },
        other => format!("it is no PEM: {other}"),
    }
}

fn roots(file: Named<'_>) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|fault| TlsFault::new(file, reasons::of_file(&fault)))?;
    }
    Ok(roots)
}

fn is_good(own: &CertifiedKey, servers: &SipServers) -> Result<(), Error> {
    let Some((first, between)) = own.cert.split_first() else { return Ok(()) };
    servers.trusts(first, between, UnixTime::now())
}

fn listening(
    config: &TlsConfig,
    own: Arc<CertifiedKey>,
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ServerConfig, TlsFault> {
    let file = config.certificate.clone().unwrap_or_default();
    let fault = |fault: Error| TlsFault::new(("certificate", &file), reasons::of_file(&fault));
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(versions).map_err(fault)?;
    let builder = match named("client_ca", &config.client_ca) {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(roots(ca)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
            let verifier = verifier.map_err(|fault| {
                TlsFault::new(ca, format!("nobody can be trusted by it: {fault}"))
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    Ok(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own))))
}

fn asking(
    servers: SipServers,
    own: Option<Arc<CertifiedKey>>,
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, TlsFault> {
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder
        .with_protocol_versions(versions)
        .map_err(|fault| TlsFault::new(("min_version", Path::new("")), fault.to_string()))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(servers));
    Ok(match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
    })
}
