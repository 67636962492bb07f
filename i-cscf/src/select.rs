//! Choosing an S-CSCF (TS 29.228 §6.7): mandatory capabilities decide, optional ones and the order
//! of the configuration rank.

use std::cmp::Reverse;

use cscf_core::cx::ServerCapabilities;

use crate::config::Config;

/// Chooses the S-CSCFs that can serve, best first; the next candidate is the next item.
///
/// Names that the HSS proposes come first, in its order. Then every configured S-CSCF that has all
/// mandatory capabilities, those with more of the optional ones before the others
/// (TS 29.228 §6.7). Those in `tried` are left out.
pub(crate) fn candidates<'a>(
    config: &'a Config,
    wanted: &'a ServerCapabilities,
    tried: &'a [String],
) -> impl Iterator<Item = &'a str> {
    let mut fit: Vec<_> = config
        .scscfs
        .iter()
        .filter(|scscf| wanted.mandatory.iter().all(|need| scscf.capabilities.contains(need)))
        .collect();
    // A stable sort: equals stay in the order of the configuration.
    fit.sort_by_key(|scscf| {
        let having = |wish: &&u32| scscf.capabilities.contains(*wish);
        Reverse(wanted.optional.iter().filter(having).count())
    });
    let proposed = wanted.server_names.iter().map(String::as_str);
    let fit = fit.into_iter().map(|scscf| scscf.uri.as_str());
    let proposed_names = &wanted.server_names;
    let fit = fit.filter(move |uri| !proposed_names.iter().any(|name| same_server(name, uri)));
    proposed.chain(fit).filter(move |uri| !tried.iter().any(|name| same_server(name, uri)))
}

/// Whether two names mean the same server.
#[must_use]
pub(crate) fn same_server(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ScscfConfig;

    fn config() -> Config {
        let scscf = |name: &str, capabilities: &[u32]| ScscfConfig {
            uri: format!("sip:{name}"),
            capabilities: capabilities.to_vec(),
        };
        Config {
            scscfs: vec![scscf("s1", &[1]), scscf("s2", &[1, 2]), scscf("s3", &[1, 2, 3])],
            ..Config::new("sip:i1", "ims.example")
        }
    }

    fn check(mandatory: &[u32], optional: &[u32], names: &[&str], tried: &[&str], want: &[&str]) {
        let wanted = ServerCapabilities {
            mandatory: mandatory.to_vec(),
            optional: optional.to_vec(),
            server_names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let tried: Vec<String> = tried.iter().map(|name| (*name).to_owned()).collect();
        let config = config();
        let found: Vec<&str> = candidates(&config, &wanted, &tried).collect();
        assert_eq!(found, want);
    }

    /// I-REG-060
    #[test]
    fn mandatory_capabilities_decide_and_optional_ones_rank() {
        check(&[], &[], &[], &[], &["sip:s1", "sip:s2", "sip:s3"]);
        check(&[2], &[], &[], &[], &["sip:s2", "sip:s3"]);
        check(&[1], &[2, 3], &[], &[], &["sip:s3", "sip:s2", "sip:s1"]);
        check(&[9], &[], &[], &[], &[]);
        check(&[3], &[], &["sip:s9", "sip:S3"], &[], &["sip:s9", "sip:S3"]);
        check(&[], &[], &["sip:s9"], &["sip:s9", "sip:S2"], &["sip:s1", "sip:s3"]);
    }
}
