//! How a message of one leg becomes one of the other: what is end to end is copied, what names a
//! hop or a leg is our own (TS 24.229 §5.7.5.1).

use cscf_core::config::ServerBehaviour;
use cscf_core::role::Env;
use cscf_core::sip::{HeaderName, Headers, Request, Response};

use super::super::AppServer;
use super::privacy;

/// What belongs to a hop or a leg.
const OF_A_LEG: [HeaderName; 12] = [
    HeaderName::CallId,
    HeaderName::Contact,
    HeaderName::ContentLength,
    HeaderName::CSeq,
    HeaderName::From,
    HeaderName::MaxForwards,
    HeaderName::RAck,
    HeaderName::RecordRoute,
    HeaderName::Route,
    HeaderName::Timestamp,
    HeaderName::To,
    HeaderName::Via,
];

/// Copies what is end to end, in its order.
pub(super) fn copy_end_to_end(from: &Headers, to: &mut Headers) {
    for field in from.iter().filter(|field| !OF_A_LEG.contains(&field.name())) {
        to.push_named(field.name_text(), &field.unfolded());
    }
}

impl AppServer {
    /// The request that goes out for one that came outside a dialog; none when it has been passed
    /// on too often. Route is what was left behind our own.
    pub(in super::super) fn far_request(
        &self,
        env: &mut Env<'_>,
        near: &Request,
        target: &str,
    ) -> Option<Request> {
        let forwards = near.max_forwards().unwrap_or(70).checked_sub(1)?;
        let mut far = Request::new(near.method.clone(), target);
        let headers = &mut far.headers;
        for route in near.headers.values(HeaderName::Route).skip_while(|it| self.is_our_route(it)) {
            headers.push(HeaderName::Route, route);
        }
        headers.push(HeaderName::MaxForwards, &forwards.to_string());
        let address = |name| near.headers.get(name).unwrap_or_default();
        let from = without_tag(address(HeaderName::From));
        headers.push(HeaderName::From, &format!("{from};tag={}", env.ids.tag()));
        headers.push(HeaderName::To, &without_tag(address(HeaderName::To)));
        headers.push(HeaderName::CallId, &env.ids.call_id(&self.domain));
        headers.push(HeaderName::CSeq, &format!("1 {}", near.method));
        if near.headers.contains(HeaderName::Contact) {
            headers.push(HeaderName::Contact, &format!("<{}>", self.uri));
        }
        copy_end_to_end(&near.headers, headers);
        self.charge_request(headers);
        headers.push(HeaderName::ContentLength, &near.body.len().to_string());
        far.body = near.body.clone();
        if self.config.behaviour == ServerBehaviour::Anonymises {
            privacy::anonymise(env, &mut far);
        }
        Some(far)
    }

    /// The answer to a request of one leg, from that to the request of the other.
    pub(super) fn near_response(
        &self,
        request: &Request,
        came: &Response,
        near_tag: &str,
    ) -> Response {
        let mut response = request.response(came.status, &came.reason);
        response.headers.remove(HeaderName::ContentLength);
        if came.status > 100 {
            response.set_to_tag(near_tag);
        }
        let makes_dialog = came.status < 300;
        if makes_dialog {
            response.headers.copy_from(&request.headers, HeaderName::RecordRoute);
        }
        if came.headers.contains(HeaderName::Contact) {
            // Behind a redirection the contacts are what it says; else we stand in between.
            if makes_dialog {
                response.headers.push(HeaderName::Contact, &format!("<{}>", self.uri));
            } else {
                response.headers.copy_from(&came.headers, HeaderName::Contact);
            }
        }
        copy_end_to_end(&came.headers, &mut response.headers);
        response.headers.push(HeaderName::ContentLength, &came.body.len().to_string());
        response.body = came.body.clone();
        self.charge_answer(request, &mut response);
        if self.config.behaviour == ServerBehaviour::Anonymises {
            privacy::anonymise_answer(&mut response);
        }
        response
    }
}

/// An address without its parameters behind the URI.
fn without_tag(value: &str) -> String {
    let value = value.replace(['\r', '\n'], " ");
    match value.split_once('>') {
        Some((head, _)) => format!("{head}>"),
        None => {
            let uri = value.split(';').next().unwrap_or_default().trim();
            format!("<{uri}>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_its_tag_only() {
        for (value, plain) in [
            ("\"A\" <sip:a@b;x=y>;tag=1;z", "\"A\" <sip:a@b;x=y>"),
            ("sip:a@b;tag=1", "<sip:a@b>"),
            ("<sip:a@b>", "<sip:a@b>"),
        ] {
            assert_eq!(without_tag(value), plain);
        }
    }
}
