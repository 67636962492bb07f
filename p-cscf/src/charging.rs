//! P-Charging-Vector and P-Charging-Function-Addresses (TS 24.229 §4.5, RFC 7315 §4.5, §4.6): made
//! and read here, never seen by a UE.

use cscf_core::ids::{Ids, push_decimal};
use cscf_core::sip::{HeaderName, Headers, Params};

use crate::config::Config;

/// A charging identifier nobody else makes: our name, and a token (TS 24.229 §4.5.2).
pub(crate) fn new_icid(config: &Config, ids: &mut Ids) -> Box<str> {
    let mut out = String::with_capacity(config.name.len() + "-255-".len() + 24);
    out.push_str(&config.name);
    out.push('-');
    push_decimal(&mut out, ids.shard().0.into());
    out.push('-');
    out.push_str(&ids.token(12));
    out.into()
}

/// The vector of a request towards the home network: type 1, never with `term-ioi`
/// (TS 24.229 §4.5.4).
pub(crate) fn of_request(config: &Config, icid: &str) -> String {
    let at = config.charging.generated_at.as_str();
    let ioi = &config.charging.ioi;
    let value =
        ["icid-value=\"", icid, "\";icid-generated-at=", at, ";orig-ioi=\"Type 1", ioi, "\""];
    value.concat()
}

/// The vector of a response of the UE towards the home network: what the request brought, and our
/// own `term-ioi` of type 1.
pub(crate) fn of_response(config: &Config, icid: &str, orig_ioi: Option<&str>) -> String {
    let ioi = &config.charging.ioi;
    let [before, orig_ioi, behind] = match orig_ioi {
        Some(orig_ioi) => [";orig-ioi=\"", orig_ioi, "\""],
        None => [""; 3],
    };
    ["icid-value=\"", icid, "\"", before, orig_ioi, behind, ";term-ioi=\"Type 1", ioi, "\""]
        .concat()
}

/// A parameter of the received vector; a value that cannot be read counts as absent.
pub(crate) fn param(headers: &Headers, name: &str) -> Option<Box<str>> {
    let value = headers.get(HeaderName::PChargingVector)?;
    let params = Params::parse_leading(value).ok()?;
    params.get(name).filter(|text| !text.is_empty() && text.len() <= VALUE_MAX).map(Into::into)
}

/// The longest identifier that is kept, in bytes.
const VALUE_MAX: usize = 255;
