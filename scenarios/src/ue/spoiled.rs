//! Messages of a UE that are wrong in one place, for tests of those who judge them: what leaves is
//! as it should be, and then one header or one line of a body is changed.

use cscf_core::role::{Action, Actions};
use cscf_core::sip::{HeaderName, Headers, Method, Request, Response};

use super::{Ue, UeTimer};

/// A place on a wrong radio.
const ELSEWHERE: &str = "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001";

impl Ue {
    /// Spoils what left since, by the mistakes that are about one place in a message.
    pub(super) fn spoil_from(&self, start: usize, out: &mut Actions<UeTimer>) {
        if self.config.mistakes == super::Mistakes::default() {
            return;
        }
        for action in out.get_mut(start..).unwrap_or_default() {
            match action {
                Action::Originate { request, .. } if request.method == Method::Register => {
                    self.spoil_register(request);
                }
                Action::Originate { request, .. } => self.spoil_request(request),
                Action::Reply { response, .. } => self.spoil_response(response),
                _ => {}
            }
        }
    }

    fn spoil_register(&self, request: &mut Request) {
        let wrong = self.config.mistakes;
        let headers = &mut request.headers;
        let leaves = headers.get(HeaderName::Contact).is_some_and(|it| it.contains("expires=0"));
        let refreshes = self.registration.expires_at.is_some() && !leaves;
        let credentials = headers.get(HeaderName::Authorization).unwrap_or_default();
        let answers = credentials.contains("response=\"") && !credentials.contains("response=\"\"");
        if wrong.keeps_binding && leaves {
            change(headers, HeaderName::Contact, |text| text.replace("expires=0", "expires=600"));
        }
        if wrong.no_path {
            change(headers, HeaderName::Supported, |text| text.replace("path,", ""));
        }
        if wrong.new_call_id && answers && !refreshes && !leaves {
            change(headers, HeaderName::CallId, |text| format!("new-{text}"));
        }
        if wrong.no_cnonce {
            change(headers, HeaderName::Authorization, |text| without_parameter(text, "cnonce"));
        }
        if wrong.verify_lost_on_refresh && refreshes || wrong.verify_lost_on_leaving && leaves {
            let _ = headers.remove_named("Security-Verify");
        }
        if wrong.place_told_early && !self.register_is_protected() {
            headers.set(HeaderName::PAccessNetworkInfo, self.place());
        }
        if wrong.place_lost_on_leaving && leaves {
            let _ = headers.remove_named("P-Access-Network-Info");
        }
        if wrong.wrong_place && headers.contains(HeaderName::PAccessNetworkInfo) {
            headers.set(HeaderName::PAccessNetworkInfo, ELSEWHERE);
        }
    }

    fn place(&self) -> &str {
        self.config.access_network_info.as_deref().unwrap_or(ELSEWHERE)
    }

    fn spoil_request(&self, request: &mut Request) {
        let wrong = self.config.mistakes;
        let initial = request.to_tag().is_none();
        if wrong.no_service_route && initial {
            let first = request.headers.values(HeaderName::Route).next().map(str::to_owned);
            let _ = request.headers.remove_named("Route");
            if let Some(first) = first {
                request.headers.push(HeaderName::Route, &first);
            }
        }
        let place_lost = match &request.method {
            Method::Update => wrong.place_lost_in_update,
            Method::Subscribe => wrong.place_lost_in_subscribe,
            Method::Bye => wrong.place_lost_in_bye,
            _ => false,
        };
        if place_lost {
            let _ = request.headers.remove_named("P-Access-Network-Info");
        }
        if request.method == Method::Refer && wrong.no_replaces {
            change(&mut request.headers, HeaderName::ReferTo, |text| match text.split_once('?') {
                Some((before, _)) => format!("{before}>"),
                None => text.to_owned(),
            });
        }
        if request.method != Method::Invite {
            return;
        }
        if wrong.no_des_lines {
            body(&mut request.headers, &mut request.body, |text| without_lines(text, "a=des:"));
        }
        if wrong.evs_last {
            body(&mut request.headers, &mut request.body, with_first_codec_last);
        }
        if wrong.no_service_named {
            let _ = request.headers.remove_named("P-Preferred-Service");
        }
        if wrong.holds_inactive {
            body(&mut request.headers, &mut request.body, |text| {
                text.replace("a=sendonly", "a=inactive")
            });
        }
    }

    fn spoil_response(&self, response: &mut Response) {
        let wrong = self.config.mistakes;
        let cseq = response.headers.get(HeaderName::CSeq).unwrap_or_default();
        let method = cseq.split_whitespace().nth(1).unwrap_or_default().to_owned();
        if wrong.unknown_bye && method == "BYE" {
            (response.status, response.reason) = (481, "Call Does Not Exist".into());
        }
        if wrong.unanswered_notify && method == "NOTIFY" {
            (response.status, response.reason) = (500, "Not Understood".into());
        }
        if method != "INVITE" {
            return;
        }
        if wrong.busy_everywhere && response.status == 486 {
            (response.status, response.reason) = (600, "Busy Everywhere".into());
        }
        let place_lost = match response.status {
            180 => wrong.place_lost_in_180,
            183 => wrong.place_lost_in_183,
            200 => wrong.place_lost_in_200,
            _ => false,
        };
        if place_lost {
            let _ = response.headers.remove_named("P-Access-Network-Info");
        }
        if wrong.no_alert_info {
            let _ = response.headers.remove_named("Alert-Info");
        }
        if wrong.deaf_to_hold {
            body(&mut response.headers, &mut response.body, |text| {
                text.replace("a=recvonly", "a=sendrecv")
            });
        }
        if wrong.stays_on_hold {
            body(&mut response.headers, &mut response.body, |text| {
                text.replace("a=sendrecv", "a=inactive")
            });
        }
        if wrong.no_conf_line {
            body(&mut response.headers, &mut response.body, |text| without_lines(text, "a=conf:"));
        }
        if wrong.other_mode_set {
            body(&mut response.headers, &mut response.body, |text| {
                text.replace("mode-set=0,2,4,7", "mode-set=7")
            });
        }
        if wrong.other_clock_rate {
            body(&mut response.headers, &mut response.body, |text| {
                text.replace("AMR-WB/16000", "AMR-WB/8000")
            });
        }
    }
}

fn change(headers: &mut Headers, name: HeaderName, how: impl Fn(&str) -> String) {
    if let Some(value) = headers.get(name).map(how) {
        headers.set(name, &value);
    }
}

fn body(headers: &mut Headers, body: &mut bytes::Bytes, how: impl Fn(&str) -> String) {
    if body.is_empty() {
        return;
    }
    let text = how(&String::from_utf8_lossy(body));
    headers.set(HeaderName::ContentLength, &text.len().to_string());
    *body = text.into();
}

/// SDP whose first payload type of audio stands behind all others.
fn with_first_codec_last(text: &str) -> String {
    let line = |line: &str| {
        let mut words: Vec<&str> = line.trim_end().split(' ').collect();
        if line.starts_with("m=audio ") && words.len() > 4 {
            let first = words.remove(3);
            words.push(first);
            return format!("{}\r\n", words.join(" "));
        }
        line.to_owned()
    };
    text.split_inclusive('\n').map(line).collect()
}

fn without_lines(text: &str, begin: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with(begin)).collect()
}

/// Credentials without one of their parameters.
fn without_parameter(text: &str, name: &str) -> String {
    let is_it = |part: &&str| part.trim_start().starts_with(&format!("{name}="));
    text.split(',').filter(|part| !is_it(part)).collect::<Vec<_>>().join(",")
}
