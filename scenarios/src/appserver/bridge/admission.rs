//! What a back-to-back user agent refuses by policy: anonymous callers (TS 24.611), locations that
//! nobody can use (RFC 6442).

use cscf_core::clause::{Clause, rfc6442, ts24611};
use cscf_core::config::ServerBehaviour;
use cscf_core::role::{Action, Actions, Env, Incoming};
use cscf_core::sip::{HeaderName, Request};

use super::super::{AppServer, ServerTimer};
use super::privacy;

/// Why a request is refused.
pub(super) struct Refused {
    status: u16,
    clause: Clause,
    why: String,
    headers: Vec<(HeaderName, String)>,
}

impl AppServer {
    pub(super) fn admit(&self, request: &Request) -> Result<(), Refused> {
        match self.config.behaviour {
            ServerBehaviour::RefusesAnonymous => {
                let exempt = privacy::is_asserted_as(request, &self.overriding);
                if exempt || !privacy::is_anonymous(request) {
                    return Ok(());
                }
                let privacy = request.headers.get(HeaderName::Privacy).unwrap_or_default();
                Err(Refused {
                    status: 433,
                    clause: ts24611("4.5.2.6.1"),
                    why: format!("the caller hides who it is (Privacy: {privacy})"),
                    headers: Vec::new(),
                })
            }
            ServerBehaviour::ChecksLocation => locate(request),
            _ => Ok(()),
        }
    }

    pub(super) fn refuse(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        refused: Refused,
        out: &mut Actions<ServerTimer>,
    ) {
        let Refused { status, clause, why, headers } = refused;
        env.refuse(clause, || format!("{status}: {why}"));
        let method = &incoming.request.method;
        out.push(Action::State(format!("refused {method} {status}")));
        let mut response = incoming.request.reply(status);
        for (name, value) in headers {
            response.headers.push(name, &value);
        }
        response.headers.push(HeaderName::Reason, &format!("SIP;cause={status}"));
        self.answer(incoming, response, out);
    }
}

/// Whether each location that a request carries by value is in its body (RFC 6442 §4.3).
fn locate(request: &Request) -> Result<(), Refused> {
    let headers = &request.headers;
    let body = String::from_utf8_lossy(&request.body);
    let named = |cid: &str| {
        let wanted = format!("<{cid}>");
        let in_part = body.lines().any(|line| {
            let name = line.split(':').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("Content-ID") && line.contains(&wanted)
        });
        in_part || headers.get(HeaderName::ContentId).is_some_and(|it| it.trim() == wanted)
    };
    let missing = headers.values(HeaderName::Geolocation).find_map(|value| {
        let uri = value.trim_start_matches('<').split('>').next().unwrap_or_default();
        let cid = uri.strip_prefix("cid:")?;
        (!named(cid)).then(|| cid.to_owned())
    });
    let Some(cid) = missing else { return Ok(()) };
    Err(Refused {
        status: 424,
        clause: rfc6442("4.3"),
        why: format!("Geolocation names cid:{cid}, and no part of the body has this Content-ID"),
        headers: vec![(
            HeaderName::GeolocationError,
            "100;code=\"Cannot Process Location\"".to_owned(),
        )],
    })
}

#[cfg(test)]
mod tests {
    use cscf_core::sip::Method;

    use super::*;

    fn located(geolocation: &str, body: &str) -> Request {
        let mut request = Request::new(Method::Invite, "sip:b@c");
        request.headers.push(HeaderName::Geolocation, geolocation);
        request.set_body("multipart/mixed;boundary=x", body.to_owned());
        request
    }

    #[test]
    fn a_location_must_be_in_the_body_it_is_said_to_be_in() {
        let body = "--x\r\nContent-ID: <a@b>\r\n\r\n<presence/>\r\n--x--\r\n";
        assert!(locate(&located("<cid:a@b>", body)).is_ok());
        assert!(locate(&located("<cid:other@b>", body)).is_err());
        assert!(locate(&located("<https://lis.example/1>", "")).is_ok());
    }
}
