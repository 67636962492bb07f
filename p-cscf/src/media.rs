//! Session descriptions at the edge (TS 24.229 §6.2): what the network does not permit gets 488
//! with a description of what it does, and an answer that breaks it ends what it belongs to. What
//! passes is not touched.

use cscf_core::clause::ts24229;
use cscf_core::policy::MediaWish;
use cscf_core::role::{Action, Actions, Env, Incoming};
use cscf_core::sip::{HeaderName, Headers, Media, Method, NotPermitted, Request, Response, Sdp};

use crate::exchange::Call;
use crate::release::Release;
use crate::{Pcscf, Timer, cause, tokens};

/// The session description of a message, alone or as a part; `None` where there is none that can
/// be read.
pub(crate) fn sdp_of(headers: &Headers, body: &[u8]) -> Option<Sdp> {
    let content_type = headers.get(HeaderName::ContentType)?;
    let mut parts = content_type.split(';');
    let kind = parts.next()?.trim().to_ascii_lowercase();
    if kind == "application/sdp" {
        return Sdp::parse(body).ok();
    }
    if !kind.starts_with("multipart/") {
        return None;
    }
    let boundary = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    let text = std::str::from_utf8(body).ok()?;
    text.split(&format!("--{boundary}")).find_map(|part| {
        let (head, inner) = part.split_once("\r\n\r\n")?;
        let is_sdp = head.to_ascii_lowercase().contains("application/sdp");
        is_sdp.then(|| Sdp::parse(inner.strip_suffix("\r\n")?.as_bytes()).ok()).flatten()
    })
}

/// What policy looks at in a description: the media in use and their bandwidths.
pub(crate) fn wishes(sdp: &Sdp) -> Vec<MediaWish> {
    let in_use = sdp.media.iter().filter(|media| media.port() != 0);
    let of = |media: &Media, kind: &str| media.bandwidth(kind).or_else(|| sdp.bandwidth(kind));
    in_use
        .map(|media| MediaWish {
            kind: media.kind().to_owned(),
            as_kbps: of(media, "AS"),
            rs_bps: of(media, "RS"),
            rr_bps: of(media, "RR"),
        })
        .collect()
}

/// Whether the body of such a request is an offer (RFC 3264 §4, RFC 3311 §5).
pub(crate) const fn offers(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

impl Pcscf {
    /// Refuses a request whose offer is not permitted; says whether it did. A session that is there
    /// stays as it was.
    pub(crate) fn refuses_offer(
        &self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<Timer>,
    ) -> bool {
        let policy = &self.config.media;
        if policy.permits_all() || !offers(&incoming.request.method) {
            return false;
        }
        let Some(sdp) = sdp_of(&incoming.request.headers, &incoming.request.body) else {
            return false;
        };
        let Err(wrong) = policy.check_offer(&sdp) else {
            env.note(ts24229("6.2"), || "the offer is within what is permitted".to_owned());
            return false;
        };
        let request = &incoming.request;
        self.diagnose_media(env, request, &wrong);
        let mut response = request.reply(488);
        self.add_permitted(env, &mut response, &sdp, None);
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
        true
    }

    fn diagnose_media(&self, env: &mut Env<'_>, request: &Request, wrong: &NotPermitted) {
        let cause = cause::media(wrong, &self.config.media).of_request(request);
        let text = format!("{} gets 488: {cause}", request.method);
        env.diagnose(ts24229("6.2"), text, cause);
    }

    /// Puts the description of what is permitted into a 488 (TS 24.229 §6.2), with the bandwidth
    /// that would be granted.
    pub(crate) fn add_permitted(
        &self,
        env: &mut Env<'_>,
        response: &mut Response,
        offer: &Sdp,
        kbps: Option<u64>,
    ) {
        let host = self.config.host();
        // RFC 3264 §9: the number is new in each, and need not be anything else.
        let number = tokens::number(env.ids) >> 1;
        let mut sdp = self.config.media.permitted(offer, host, number);
        if let Some(kbps) = kbps {
            sdp.push('b', &format!("AS:{kbps}"));
        }
        response.headers.push(HeaderName::Warning, &format!("370 {host} \"{WARNING}\""));
        response.set_body("application/sdp", sdp.to_string());
    }

    /// What in a response is not permitted: its answer, or its offer where the request had none.
    pub(crate) fn breaks_policy(&self, call: &Call, response: &Response) -> Option<NotPermitted> {
        let policy = &self.config.media;
        if policy.permits_all() || response.status >= 300 || call.dialog.is_none() {
            return None;
        }
        let sdp = sdp_of(&response.headers, &response.body)?;
        let checked =
            if call.offered { policy.check_answer(&sdp) } else { policy.check_offer(&sdp) };
        checked.err()
    }

    /// Ends what an answer belongs to that is not permitted (TS 24.229 §6.2).
    pub(crate) fn end_for_media(
        &mut self,
        env: &mut Env<'_>,
        call: &Call,
        wrong: &NotPermitted,
        out: &mut Actions<Timer>,
    ) {
        let Some(id) = call.dialog else { return };
        let permitted = self.config.media.in_words();
        env.refuse(ts24229("6.2"), || {
            format!("releases the session: the answer has {wrong}; permitted are {permitted}")
        });
        self.release(env, id, Release::NOT_ACCEPTABLE, out);
    }
}

/// The text of the Warning in a 488 (RFC 3261 §20.43).
const WARNING: &str = "Media or bandwidth not permitted in this network";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_found_alone_and_among_parts() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
                   m=audio 7000 RTP/AVP 0\r\nb=AS:41\r\nb=RS:0\r\nm=video 0 RTP/AVP 34\r\n";
        let mut headers = Headers::new();
        assert!(sdp_of(&headers, sdp.as_bytes()).is_none());
        headers.push(HeaderName::ContentType, "Application/SDP");
        let found = sdp_of(&headers, sdp.as_bytes()).expect("SDP");
        let [audio] = wishes(&found).try_into().expect("one medium in use");
        let MediaWish { kind, as_kbps, rs_bps, rr_bps } = audio;
        assert_eq!((&*kind, as_kbps, rs_bps, rr_bps), ("audio", Some(41), Some(0), None));
        headers.set(HeaderName::ContentType, "multipart/mixed; boundary=\"b 1\"");
        let parts = format!(
            "--b 1\r\nContent-Type: application/pidf+xml\r\n\r\n<x/>\r\n\
             --b 1\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b 1--\r\n"
        );
        assert_eq!(sdp_of(&headers, parts.as_bytes()), Some(found));
    }
}
