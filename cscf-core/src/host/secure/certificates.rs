//! The certificates of a lab, read from its files and checked before anything runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::identity::SipServers;
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
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl TlsFault {
    fn new(file: &Path, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), reason: reason.into() }
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
        let own = pair(config.certificate.as_deref(), config.key.as_deref(), &provider)?;
        let client =
            pair(config.client_certificate.as_deref(), config.client_key.as_deref(), &provider)?;
        let roots =
            config.ca.as_deref().map(roots).transpose()?.unwrap_or_else(RootCertStore::empty);
        let servers = SipServers { roots, provider: Arc::clone(&provider) };
        if let (Some(own), Some(_)) = (&own, &config.ca) {
            let file = config.certificate.clone().unwrap_or_default();
            is_good(own, &servers).map_err(|fault| TlsFault::new(&file, fault.to_string()))?;
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
    certificate: Option<&Path>,
    key: Option<&Path>,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, TlsFault> {
    let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(None) };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|fault| match fault {
        rustls::pki_types::pem::Error::NoItemsFound => {
            TlsFault::new(key, "it holds no private key (PEM)")
        }
        other => TlsFault::new(key, format!("it cannot be read: {other}")),
    })?;
    let both = CertifiedKey::from_der(chain, secret, provider).map_err(|fault| match fault {
        Error::InconsistentKeys(_) => TlsFault::new(
            key,
            format!("it is not the key of the certificate in {}", certificate.display()),
        ),
        other => TlsFault::new(key, other.to_string()),
    })?;
    Ok(Some(Arc::new(both)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let unreadable = |fault: rustls::pki_types::pem::Error| {
        TlsFault::new(file, format!("it cannot be read: {fault}"))
    };
    let list = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
    let list = list.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if list.is_empty() {
        return Err(TlsFault::new(file, "it holds no certificate (PEM)"));
    }
    Ok(list)
}

fn roots(file: &Path) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|fault| TlsFault::new(file, fault.to_string()))?;
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
    let fault = |fault: Error| TlsFault::new(&file, fault.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(versions).map_err(fault)?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(roots(ca)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
            let verifier = verifier.map_err(|fault| TlsFault::new(ca, fault.to_string()))?;
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
        .map_err(|fault| TlsFault::new(Path::new("min_version"), fault.to_string()))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(servers));
    Ok(match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
    })
}
