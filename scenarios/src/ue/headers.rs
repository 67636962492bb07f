//! The headers a UE puts into everything it sends (TS 24.229 §5.1.2A), and dialled text as a URI.

use std::net::{IpAddr, SocketAddr};

use cscf_core::ids::Ids;
use cscf_core::role::{Action, Actions, NextHop, Side};
use cscf_core::sip::{HeaderName, Headers, Method, NameAddr, Request, Uri, host_eq};
use cscf_core::transport::Transport;

use super::{Gruu, Ue, UeTimer};

/// The IMS communication service identifier of multimedia telephony (TS 24.173 §5.1).
pub(super) const ICSI: &str = "urn:urn-7:3gpp-service.ims.icsi.mmtel";
/// The same, escaped as a feature tag's value wants it (TS 24.229 §7.9.2).
const ICSI_TAG: &str = "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"";

/// The user part of a Contact that will be forgotten.
const LOST_USER: &str = "long-ago@";

/// An address as From and To hold it.
pub(super) fn aor(impu: &str) -> String {
    format!("<{impu}>")
}

/// What a user dials as a Request-URI (TS 24.229 §5.1.2A.1.3, §5.1.2A.1.5): a URI stays, an
/// international number becomes `tel:+…`, a local one gets the home domain as its context, a name
/// becomes a SIP URI at home.
#[must_use]
pub fn dialled(text: &str, domain: &str) -> String {
    let digits = |text: &str| {
        text.chars().any(|char| char.is_ascii_digit())
            && text.chars().all(|char| char.is_ascii_digit() || "-.()*#".contains(char))
    };
    if Uri::parse(text).is_ok() {
        text.to_owned()
    } else if text.strip_prefix('+').is_some_and(digits) {
        format!("tel:{text}")
    } else if digits(text) {
        format!("tel:{text};phone-context={domain}")
    } else if text.contains('@') {
        format!("sip:{text}")
    } else {
        format!("sip:{text}@{domain}")
    }
}

impl Ue {
    /// The P-CSCF's URI with our transport.
    pub(super) fn pcscf_uri(&self) -> String {
        match self.transport() {
            Transport::Udp => self.pcscf().to_owned(),
            transport => format!("{};transport={}", self.pcscf(), transport.param_name()),
        }
    }

    /// The next hop of a request outside a dialog.
    pub(super) fn to_pcscf(&self) -> NextHop {
        NextHop::Uri(self.pcscf_uri())
    }

    /// Our address as a URI.
    pub(super) fn contact_uri(&self) -> String {
        let address = SocketAddr::new(self.config.address.ip(), self.contact_port());
        let user = if self.config.mistakes.lost_user { LOST_USER } else { "" };
        match self.transport() {
            Transport::Udp => format!("sip:{user}{address}"),
            transport => {
                let web = self.config.is_web();
                let host = if web { self.config.invalid_host() } else { address.to_string() };
                format!("sip:{user}{host};transport={}", transport.uri_name())
            }
        }
    }

    /// The Contact of a REGISTER, with all the UE can (TS 24.229 §5.1.1.2.1).
    pub(super) fn contact_with_features(&self, expires: Option<u32>) -> String {
        let sos = if self.config.emergency.is_some() { ";sos" } else { "" };
        let mut contact = format!("<{}{sos}>", self.contact_uri());
        if let Some(instance) = &self.config.instance {
            contact.push_str(&format!(";+sip.instance=\"<{instance}>\""));
        }
        if let Some(reg_id) = self.flow_number() {
            contact.push_str(&format!(";reg-id={reg_id}"));
        }
        // Nothing but calls in an emergency (TS 24.229 §5.1.6.2).
        let quiet = self.config.emergency.is_some() || self.config.mistakes.no_smsip_tag;
        let messages = if quiet || !self.config.sms { "" } else { ";+g.3gpp.smsip" };
        contact.push_str(&format!(";{ICSI_TAG}{messages};audio"));
        if let Some(expires) = expires {
            contact.push_str(&format!(";expires={expires}"));
        }
        contact
    }

    /// The Contact of a session: our address, or a GRUU if wanted (TS 24.229 §5.1.2A.1.1).
    pub(super) fn session_contact(&self) -> String {
        let gruu = match self.config.gruu {
            Gruu::Off => None,
            Gruu::Public => self.registration.pub_gruu.clone(),
            Gruu::Temporary => self.registration.temp_gruu.clone(),
        };
        let uri = gruu.unwrap_or_else(|| self.contact_uri());
        // Who calls for help unregistered is known by the device (TS 24.229 §5.1.6.8.2).
        let unknown = self.config.emergency.is_some() && !self.registration.is_on();
        let instance = self.config.instance.as_ref().filter(|_| unknown);
        let instance = instance.map(|it| format!(";+sip.instance=\"<{it}>\""));
        format!("<{uri}>{};{ICSI_TAG};audio", instance.unwrap_or_default())
    }

    /// Whether a Contact of a 200 to REGISTER is ours.
    pub(super) fn is_own_contact(&self, contact: &NameAddr) -> bool {
        self.is_own_address(&contact.uri)
    }

    pub(super) fn is_own_address(&self, uri: &Uri) -> bool {
        if self.config.is_web() {
            return uri.host().is_some_and(|host| host_eq(host, &self.config.invalid_host()));
        }
        let address = self.config.address;
        let port = uri.port().unwrap_or(5060);
        uri.host().is_some_and(|host| host_eq(host, &host_text(address.ip())))
            && self.is_own_port(port)
    }

    /// Whether a request with this Request-URI is for this UE: our address, our GRUU, or one of our
    /// public identities.
    pub(super) fn is_for_us(&self, uri: &Uri) -> bool {
        let same = |text: &String| Uri::parse(text).is_ok_and(|known| known == *uri);
        // By mistake it has forgotten who it said it was.
        let forgotten = self.config.mistakes.lost_user && uri.user().is_some();
        (self.is_own_address(uri) && !forgotten)
            || self.registration.pub_gruu.as_ref().is_some_and(same)
            || self.registration.temp_gruu.as_ref().is_some_and(same)
            || self.config.impus.iter().any(same)
            || self.registration.associated.iter().any(same)
    }

    /// The identity we call with: the network's default, else the first of our own
    /// (TS 24.229 §5.1.2A.1.1).
    pub(super) fn identity(&self) -> String {
        let associated = self.registration.associated.first();
        associated.or_else(|| self.config.impus.first()).cloned().unwrap_or_default()
    }

    /// Timer values of this UE: those of the air interface on a 3GPP access (TS 24.229 §7.7).
    pub(super) const fn own_side(&self) -> Side {
        if self.config.access_network_info.is_some() { Side::Air } else { Side::Core }
    }

    /// A request outside a dialog, up to but without Contact and body: Route is the P-CSCF and the
    /// Service-Route (TS 24.229 §5.1.2A.1.1).
    pub(super) fn initial_request(&self, ids: &mut Ids, method: Method, target: &str) -> Request {
        let identity = self.identity();
        let host = self.config.address.ip().to_string();
        let mut request = Request::new(method, target);
        let cseq = format!("1 {}", request.method);
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        self.push_initial_route(headers);
        headers.push(HeaderName::From, &format!("<{identity}>;tag={}", ids.tag()));
        headers.push(HeaderName::To, &format!("<{target}>"));
        headers.push(HeaderName::CallId, &ids.call_id(&host));
        headers.push(HeaderName::CSeq, &cseq);
        headers.push(HeaderName::PPreferredIdentity, &format!("<{identity}>"));
        self.push_access(headers);
        headers.push(HeaderName::ContentLength, "0");
        request
    }

    fn push_initial_route(&self, headers: &mut Headers) {
        let transport = match self.transport() {
            Transport::Udp => String::new(),
            transport => format!(";transport={}", transport.uri_name()),
        };
        let first = format!("<{}{transport};lr>", self.pcscf_route());
        headers.push(HeaderName::Route, &first);
        for route in &self.registration.service_route {
            headers.push(HeaderName::Route, route);
        }
    }

    /// P-Access-Network-Info, if we know where we are; not for ACK and CANCEL
    /// (TS 24.229 §5.1.2A.1.1, §5.1.2A.2).
    pub(super) fn push_access(&self, headers: &mut Headers) {
        if let Some(info) = &self.config.access_network_info {
            headers.set(HeaderName::PAccessNetworkInfo, info);
        }
    }

    /// What a request of multimedia telephony says of itself (TS 24.229 §5.1.3.1).
    pub(super) fn push_service(headers: &mut Headers) {
        headers.push(HeaderName::PPreferredService, ICSI);
        headers.push(HeaderName::AcceptContact, &format!("*;{ICSI_TAG}"));
    }
}

/// Other headers for what left since: requests and answers.
pub(super) fn dress_from(
    start: usize,
    headers: &[(String, Option<String>)],
    out: &mut Actions<UeTimer>,
) {
    for action in out.iter_mut().skip(start) {
        match action {
            Action::Originate { request, .. } => {
                for (name, value) in headers {
                    match (name.as_str(), value) {
                        ("body", value) => {
                            request.body = value.clone().unwrap_or_default().into();
                            let length = request.body.len().to_string();
                            request.headers.set(HeaderName::ContentLength, &length);
                        }
                        ("request_uri", Some(uri)) => request.request_uri = uri.as_str().into(),
                        (name, value) => replace(&mut request.headers, name, value.as_deref()),
                    }
                }
            }
            Action::Reply { response, .. } => {
                for (name, value) in headers {
                    replace(&mut response.headers, name, value.as_deref());
                }
            }
            _ => {}
        }
    }
}

fn replace(headers: &mut Headers, name: &str, value: Option<&str>) {
    let _ = headers.remove_named(name);
    if let Some(value) = value {
        headers.push_named(name, value);
    }
}

pub(super) fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialled_text_becomes_a_uri_of_the_right_scheme() {
        for (text, uri) in [
            ("sip:bob@ims.example", "sip:bob@ims.example"),
            ("tel:+15550100002", "tel:+15550100002"),
            ("+1-555-0100002", "tel:+1-555-0100002"),
            ("5550100", "tel:5550100;phone-context=ims.example"),
            ("*100#", "tel:*100#;phone-context=ims.example"),
            ("bob@other.example", "sip:bob@other.example"),
            ("bob", "sip:bob@ims.example"),
        ] {
            assert_eq!(dialled(text, "ims.example"), uri);
        }
    }
}
