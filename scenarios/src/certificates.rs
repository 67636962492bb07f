//! Certificates for a lab: a CA for tests, and under it one for the listeners of the P-CSCFs and
//! one for clients. Each call makes new keys; nobody but the lab is to trust the CA.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use cscf_core::config::{Lab, NodeRole, TlsConfig};
use cscf_core::host::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Phones take no certificate of a server that lasts longer.
const LEAF_DAYS: u32 = 825;
const CA_DAYS: u32 = 3650;

/// Makes the certificates of a lab in `folder`: `ca.pem`, `server.pem`, `client.pem`, each with its
/// key. The files are named as they were found; the caller makes them relative to the lab file.
///
/// # Errors
///
/// A file that cannot be written.
pub fn make(lab: &Lab, folder: &Path) -> Result<TlsConfig, String> {
    let wrong = |fault: rcgen::Error| format!("no certificate can be made: {fault}");
    let key = KeyPair::generate().map_err(wrong)?;
    let ca = ca_params(lab);
    let certificate = ca.self_signed(&key).map_err(wrong)?;
    fs::create_dir_all(folder)
        .map_err(|fault| format!("{} cannot be made: {fault}", folder.display()))?;
    let pair = |name: &str, certificate: &str, key: &str| -> Result<_, String> {
        let files = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        write(&files.0, certificate, 0o644)?;
        write(&files.1, key, 0o600)?;
        Ok(files)
    };
    let (ca_file, _) = pair("ca", &certificate.pem(), &key.serialize_pem())?;
    let issuer = Issuer::new(ca, key);
    let leaf = |params: CertificateParams| -> Result<(String, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
    };
    let server = params(&names(lab), "P-CSCF", ExtendedKeyUsagePurpose::ServerAuth);
    let (text, secret) = leaf(server.map_err(wrong)?).map_err(wrong)?;
    let (server, server_key) = pair("server", &text, &secret)?;
    let client = params(&["client.cscf".to_owned()], "client", ExtendedKeyUsagePurpose::ClientAuth);
    let (text, secret) = leaf(client.map_err(wrong)?).map_err(wrong)?;
    let (client, client_key) = pair("client", &text, &secret)?;
    Ok(TlsConfig {
        ca: Some(ca_file),
        certificate: Some(server),
        key: Some(server_key),
        client_certificate: Some(client),
        client_key: Some(client_key),
        ..TlsConfig::default()
    })
}

/// The addresses and names under which UEs find the P-CSCFs, and the domain of the network.
fn names(lab: &Lab) -> Vec<String> {
    let mut out = vec![lab.domain.clone()];
    for node in lab.nodes.iter().filter(|node| node.role == NodeRole::Pcscf) {
        let secured = node.secured_listeners().into_iter().map(|(_, addr)| addr.ip());
        out.push(node.advertise.0.trim_matches(['[', ']']).to_owned());
        out.push(node.listen.ip().to_string());
        out.extend(secured.map(|ip| ip.to_string()));
    }
    if out.iter().any(|name| name.starts_with("127.")) {
        out.push("localhost".to_owned());
    }
    out.sort();
    out.dedup();
    out
}

fn ca_params(lab: &Lab) -> CertificateParams {
    let mut params = CertificateParams::default();
    lasting(&mut params, CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let name = format!("cscf test CA of {}", lab.domain);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn params(
    names: &[String],
    who: &str,
    usage: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    lasting(&mut params, LEAF_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(DnType::CommonName, who);
    Ok(params)
}

fn lasting(params: &mut CertificateParams, days: u32) {
    let since = Duration::from_nanos(Clock::start().epoch_unix_ns());
    // A clock of a phone may be a little behind.
    params.not_before = date_time_ymd(1970, 1, 1) + since.saturating_sub(DAY);
    params.not_after = params.not_before + DAY * days;
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), String> {
    let written = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        options.open(file)?.write_all(text.as_bytes())
    };
    written().map_err(|fault| format!("{} cannot be written: {fault}", file.display()))
}

#[cfg(test)]
mod tests {
    use cscf_core::host::Tls;
    use cscf_core::transport::Transport;

    use super::*;

    #[test]
    fn certificates_of_a_lab_are_good_and_wrong_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut lab = Lab::default_lab();
        lab.nodes[0].listen_for(Transport::Tls);
        let mut made = make(&lab, folder.path()).expect("certificates");
        assert!(Tls::read(&made).expect("good").listens());

        let fault = |config: &TlsConfig| Tls::read(config).expect_err("wrong").to_string();
        made.key = made.client_key.clone();
        let said = fault(&made);
        assert!(said.contains("client.key: it is not the key of the certificate in"), "{said}");
        made.key = made.certificate.clone();
        assert!(fault(&made).contains("server.pem: it holds no private key"), "{}", fault(&made));
        made.certificate = Some(folder.path().join("none.pem"));
        let said = fault(&made);
        assert!(said.contains("none.pem: there is no such file"), "{said}");
        made.certificate = Some(folder.path().join("ca.key"));
        assert!(fault(&made).contains("ca.key: it holds no certificate"), "{}", fault(&made));

        let other = make(&lab, &folder.path().join("other")).expect("certificates");
        let mixed = TlsConfig { ca: other.ca, ..make(&lab, folder.path()).expect("again") };
        let said = fault(&mixed);
        assert!(said.ends_with("server.pem: no CA of the file under `ca` has signed it"), "{said}");
    }
}
