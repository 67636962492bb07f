//! What passes the edge and what does not (TS 24.229 §4.4, §5.2.1; RFC 3325): headers a UE must not
//! set, and headers a UE must not see. Headers not named here pass untouched.

use cscf_core::dialog::field;
use cscf_core::sip::{HeaderName, Headers, Uri};

/// Headers only the network may set.
const NETWORK_ONLY: &[HeaderName] = &[
    HeaderName::FeatureCaps,
    HeaderName::PAssertedIdentity,
    HeaderName::PAssertedService,
    HeaderName::PAssociatedUri,
    HeaderName::PCalledPartyId,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PChargingVector,
    HeaderName::PPreferredIdentity,
    HeaderName::PPrivateNetworkIndication,
    HeaderName::PProfileKey,
    HeaderName::PServedUser,
    HeaderName::PUserDatabase,
    HeaderName::PVisitedNetworkId,
    HeaderName::Path,
    HeaderName::SecurityClient,
    HeaderName::SecurityServer,
    HeaderName::SecurityVerify,
    HeaderName::ServiceRoute,
];

/// Headers that stay inside the trust domain.
///
/// P-Access-Network-Info is among them: it tells where the other user is (RFC 7315 §4.4).
const INSIDE_ONLY: &[HeaderName] = &[
    HeaderName::PAccessNetworkInfo,
    HeaderName::PAssertedService,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PChargingVector,
    HeaderName::PPrivateNetworkIndication,
    HeaderName::PProfileKey,
    HeaderName::PServedUser,
    HeaderName::PUserDatabase,
    HeaderName::PVisitedNetworkId,
    HeaderName::SecurityClient,
    HeaderName::SecurityServer,
    HeaderName::SecurityVerify,
];

/// The same for headers without a name of their own in the core.
const INSIDE_ONLY_NAMED: &[&str] = &["Relayed-Charge", "Response-Source", "Restoration-Info"];

/// Headers whose URIs may tell which networks a message passes (RFC 7549).
const ROUTING: &[HeaderName] = &[
    HeaderName::Contact,
    HeaderName::Path,
    HeaderName::RecordRoute,
    HeaderName::Route,
    HeaderName::ServiceRoute,
];

/// Removes what a UE must not say, from its requests and responses. P-Preferred-Identity goes too:
/// whoever needs it reads it before.
pub(crate) fn strip_from_ue(headers: &mut Headers) {
    headers.remove_all(NETWORK_ONLY);
    for name in INSIDE_ONLY_NAMED {
        headers.remove_named(name);
    }
    for name in [HeaderName::Require, HeaderName::ProxyRequire] {
        headers.retain_values(name, |tag| !tag.eq_ignore_ascii_case("sec-agree"));
    }
    headers.retain_values(HeaderName::PAccessNetworkInfo, |value| !is_network_provided(value));
    headers.retain_values(HeaderName::PEarlyMedia, |value| value.eq_ignore_ascii_case("supported"));
    headers.map_values(HeaderName::Geolocation, without_loc_src);
}

/// Removes what a UE must not see, from requests and responses to it.
pub(crate) fn strip_to_ue(headers: &mut Headers) {
    headers.remove_all(INSIDE_ONLY);
    for name in INSIDE_ONLY_NAMED {
        headers.remove_named(name);
    }
    if wants_id_privacy(headers) {
        headers.remove(HeaderName::PAssertedIdentity);
    }
    for name in ROUTING {
        // Hardly anybody says it: the lines are not taken apart for nothing.
        if headers.fields(*name).any(|field| iotl_at(field.value()).is_some()) {
            headers.map_values(*name, without_iotl);
        }
    }
}

/// How the parameter stands in a URI.
const IOTL: &str = ";iotl=";

fn iotl_at(text: &str) -> Option<usize> {
    let is = |piece: &[u8]| piece.eq_ignore_ascii_case(IOTL.as_bytes());
    text.as_bytes().windows(IOTL.len()).position(is)
}

/// A URI or address without `iotl`, which is for the networks on the way (TS 24.229 §4.4);
/// `None` where there is none.
pub(crate) fn without_iotl(text: &str) -> Option<String> {
    let (before, rest) = text.split_at_checked(iotl_at(text)?)?;
    let value = rest.get(IOTL.len()..)?;
    let end = value.find([';', '>', '?', ',', '"', ' ']).unwrap_or(value.len());
    Some(format!("{before}{}", value.get(end..)?))
}

/// Whether Privacy asks for the identity to be withheld; `user` and `header` do not
/// (RFC 3325 §7).
fn wants_id_privacy(headers: &Headers) -> bool {
    headers
        .fields(HeaderName::Privacy)
        .flat_map(|field| field.value().split([';', ',']))
        .any(|value| value.trim().eq_ignore_ascii_case("id"))
}

/// Whether a P-Access-Network-Info value claims to be the network's (TS 24.229 §7.2A.4).
fn is_network_provided(value: &str) -> bool {
    value.split(';').skip(1).any(|param| {
        let name = param.split('=').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("network-provided") || name.eq_ignore_ascii_case("np")
    })
}

/// A Geolocation value without `loc-src`, which only the network may add.
fn without_loc_src(value: &str) -> Option<String> {
    field::param(value, "loc-src")?;
    let (uri, params) = value.split_once('>')?;
    let mut out = format!("{uri}>");
    for param in params.split(';').map(str::trim).filter(|param| !param.is_empty()) {
        let name = param.split('=').next().unwrap_or_default().trim_end();
        if !name.eq_ignore_ascii_case("loc-src") {
            out.push(';');
            out.push_str(param);
        }
    }
    Some(out)
}

/// Whether the Route lists are the same entries in the same order (RFC 3261 §19.1.4).
#[must_use]
pub(crate) fn same_routes(headers: &Headers, stored: &[impl AsRef<str>]) -> bool {
    let mut stored = stored.iter();
    headers
        .values(HeaderName::Route)
        .all(|value| stored.next().is_some_and(|other| same_uri(value, other.as_ref())))
        && stored.next().is_none()
}

/// Whether two addresses hold equivalent URIs.
#[must_use]
pub(crate) fn same_uri(a: &str, b: &str) -> bool {
    let (a, b) = (field::uri_of(a), field::uri_of(b));
    a == b || matches!((Uri::parse(a), Uri::parse(b)), (Ok(a), Ok(b)) if a == b)
}

/// Puts these entries in the place of Route.
pub(crate) fn set_routes(headers: &mut Headers, routes: &[impl AsRef<str>]) {
    headers.remove(HeaderName::Route);
    for route in routes.iter().rev() {
        headers.push_front(HeaderName::Route, route.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.push(*name, value);
        }
        headers
    }

    fn text(headers: &Headers) -> String {
        headers.iter().map(|field| String::from_utf8_lossy(field.line()).into_owned()).collect()
    }

    /// P-ORI-070, P-ORI-110, P-ORI-120, P-REG-070.
    #[test]
    fn what_only_the_network_may_say_does_not_pass_from_a_ue() {
        let mut it = headers(&[
            (HeaderName::PAccessNetworkInfo, "3GPP-NR-FDD;utran-cell-id-3gpp=1, 3GPP-NR-FDD;np"),
            (HeaderName::PEarlyMedia, "supported, sendrecv"),
            (HeaderName::Geolocation, "<cid:a@b>;loc-src=x.example;inserted-by=y"),
            (HeaderName::Require, "sec-agree, 100rel"),
            (HeaderName::ProxyRequire, "sec-agree"),
            (HeaderName::FeatureCaps, "*;+g.x"),
            (HeaderName::PAssertedService, "urn:x"),
            (HeaderName::SecurityVerify, "ipsec-3gpp"),
        ]);
        it.push_named("X-Mine", "kept");
        strip_from_ue(&mut it);
        assert_eq!(
            text(&it),
            "P-Access-Network-Info: 3GPP-NR-FDD;utran-cell-id-3gpp=1\r\n\
             P-Early-Media: supported\r\n\
             Geolocation: <cid:a@b>;inserted-by=y\r\n\
             Require: 100rel\r\n\
             X-Mine: kept\r\n"
        );
    }

    /// G-TRUST-020.
    #[test]
    fn only_the_privacy_id_hides_the_asserted_identity() {
        for (privacy, shown) in [("id", false), ("header;id;critical", false), ("user", true)] {
            let mut it = headers(&[
                (HeaderName::Privacy, privacy),
                (HeaderName::PAssertedIdentity, "<sip:alice@ims.example>"),
            ]);
            strip_to_ue(&mut it);
            assert_eq!(it.contains(HeaderName::PAssertedIdentity), shown, "{privacy}");
        }
    }

    /// G-TRUST-030, G-ICID-030.
    #[test]
    fn what_is_of_the_trust_domain_stays_inside() {
        let mut it = headers(&[
            (HeaderName::PChargingVector, "icid-value=1"),
            (HeaderName::PChargingFunctionAddresses, "ccf=1"),
            (HeaderName::PVisitedNetworkId, "x"),
            (HeaderName::PAccessNetworkInfo, "3GPP-NR-FDD;utran-cell-id-3gpp=1"),
            (HeaderName::PServedUser, "<sip:a@b>"),
            (HeaderName::Subject, "kept"),
        ]);
        it.push_named("restoration-info", "x");
        strip_to_ue(&mut it);
        assert_eq!(text(&it), "Subject: kept\r\n");
    }

    #[test]
    fn what_networks_are_on_the_way_is_not_told() {
        for (text, expected) in [
            ("<sip:s;lr;IOTL=homea-visiteda>;x=1", Some("<sip:s;lr>;x=1")),
            ("sip:s;iotl=homea-homeb;lr", Some("sip:s;lr")),
            ("sip:s;iotl=", Some("sip:s")),
            ("<sip:s;lr>", None),
        ] {
            assert_eq!(without_iotl(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn routes_are_compared_as_uris_in_order() {
        let stored: Vec<Box<str>> = vec!["<sip:a@s.example;lr>".into(), "<sip:b;lr>".into()];
        let it = |value| headers(&[(HeaderName::Route, value)]);
        assert!(same_routes(&it("<sip:a@S.example;lr>, <sip:b;lr>"), &stored));
        assert!(!same_routes(&it("<sip:a@s.example;lr>"), &stored));
        assert!(!same_routes(&it("<sip:b;lr>, <sip:a@s.example;lr>"), &stored));
        assert!(!same_routes(&headers(&[]), &stored));
    }
}
