//! Messages a transaction makes by itself: the ACK of a final response other than 2xx and the
//! CANCEL, which go hop by hop with the INVITE's own top Via; and 100 (Trying).

use bytes::{BufMut, Bytes, BytesMut};

use crate::sip::{HeaderName, Message, Method, Request, Response, parse};

/// The ACK of a 3xx–6xx: Request-URI, top Via, From, Call-ID, CSeq number and Route of the INVITE,
/// To of the response (RFC 3261 §17.1.1.3). `None` if `invite` is no INVITE.
#[must_use]
pub fn ack_of_failure(invite: &Bytes, response: &Response) -> Option<Request> {
    let invite = read(invite)?;
    let mut ack = same_hop(&invite, Method::Ack)?;
    ack.headers.remove(HeaderName::To);
    ack.headers.copy_from(&response.headers, HeaderName::To);
    ack.headers.push(HeaderName::ContentLength, "0");
    Some(ack)
}

/// The CANCEL of an INVITE, whose Request-URI, Call-ID, To, From, CSeq number, top Via and Route it
/// shares (RFC 3261 §9.1). `reason` is the value of a Reason header. `None` if `invite` is no
/// INVITE.
#[must_use]
pub fn cancel_of(invite: &Bytes, reason: Option<&str>) -> Option<Request> {
    let invite = read(invite)?;
    let mut cancel = same_hop(&invite, Method::Cancel)?;
    if let Some(reason) = reason {
        cancel.headers.push(HeaderName::Reason, reason);
    }
    cancel.headers.push(HeaderName::ContentLength, "0");
    Some(cancel)
}

/// 100 (Trying) to a request, ready for the wire: the headers of RFC 3261 §8.2.6 in the order of
/// the request. Written at one go, since nearly every request has one made and few are sent.
pub(super) fn trying_of(request: &Request) -> Bytes {
    const START: &[u8] = b"SIP/2.0 100 Trying\r\n";
    const END: &[u8] = b"Content-Length: 0\r\n\r\n";
    let lines = || {
        request.headers.iter().filter(|field| {
            matches!(
                field.name(),
                HeaderName::Via
                    | HeaderName::From
                    | HeaderName::To
                    | HeaderName::CallId
                    | HeaderName::CSeq
                    | HeaderName::Timestamp
            )
        })
    };
    let length: usize = lines().map(|field| field.line().len()).sum();
    let mut out = BytesMut::with_capacity(START.len() + length + END.len());
    out.put_slice(START);
    lines().for_each(|field| out.put_slice(field.line()));
    out.put_slice(END);
    out.freeze()
}

fn read(invite: &Bytes) -> Option<Request> {
    match parse(invite) {
        Ok(Message::Request(request)) if request.method == Method::Invite => Some(request),
        _ => None,
    }
}

fn same_hop(invite: &Request, method: Method) -> Option<Request> {
    let cseq = invite.cseq().ok()?.number;
    let cseq = format!("{cseq} {method}");
    let mut request = Request::new(method, invite.request_uri.clone());
    request.headers.push(HeaderName::Via, invite.headers.first_value(HeaderName::Via)?);
    request.headers.push(HeaderName::MaxForwards, "70");
    for name in [HeaderName::Route, HeaderName::From, HeaderName::To, HeaderName::CallId] {
        request.headers.copy_from(&invite.headers, name);
    }
    request.headers.push(HeaderName::CSeq, &cseq);
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@ims.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP p1.ims.example;branch=z9hG4bK77, SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
        Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK0\r\n\
        Route: <sip:s1.ims.example;lr>\r\n\
        Route: <sip:i1.ims.example;lr>\r\n\
        Max-Forwards: 66\r\n\
        From: <sip:alice@ims.example>;tag=a1\r\n\
        To: <sip:bob@ims.example>\r\n\
        Call-ID: c1\r\n\
        CSeq: 7 INVITE\r\n\
        Proxy-Require: sec-agree\r\n\
        Content-Length: 4\r\n\r\nv=0\n";

    fn text(request: &Request) -> String {
        String::from_utf8(request.to_bytes().to_vec()).expect("utf-8")
    }

    // T-TRN-060
    #[test]
    fn the_ack_of_a_failure_travels_like_its_invite_with_the_to_of_the_response() {
        let invite = Bytes::from(INVITE);
        let mut busy = read(&invite).expect("an INVITE").response(486, "Busy Here");
        busy.set_to_tag("b1");

        let ack = ack_of_failure(&invite, &busy).expect("an ACK");

        assert_eq!(
            text(&ack),
            "ACK sip:bob@ims.example SIP/2.0\r\n\
             Via: SIP/2.0/UDP p1.ims.example;branch=z9hG4bK77\r\n\
             Max-Forwards: 70\r\n\
             Route: <sip:s1.ims.example;lr>\r\n\
             Route: <sip:i1.ims.example;lr>\r\n\
             From: <sip:alice@ims.example>;tag=a1\r\n\
             Call-ID: c1\r\n\
             CSeq: 7 ACK\r\n\
             To: <sip:bob@ims.example>;tag=b1\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    // RFC 3261 §8.2.6.1: the Timestamp comes back.
    #[test]
    fn a_100_has_the_headers_of_its_request() {
        let mut invite = read(&Bytes::from(INVITE)).expect("an INVITE");
        invite.headers.push(HeaderName::Timestamp, "54");

        let trying = trying_of(&invite);

        assert_eq!(
            std::str::from_utf8(&trying).expect("utf-8"),
            "SIP/2.0 100 Trying\r\n\
             Via: SIP/2.0/UDP p1.ims.example;branch=z9hG4bK77, \
             SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK0\r\n\
             From: <sip:alice@ims.example>;tag=a1\r\n\
             To: <sip:bob@ims.example>\r\n\
             Call-ID: c1\r\n\
             CSeq: 7 INVITE\r\n\
             Timestamp: 54\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn the_cancel_travels_like_its_invite_and_keeps_its_to() {
        let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
        let cancel = cancel_of(&Bytes::from(INVITE), Some(reason)).expect("a CANCEL");

        assert_eq!(
            text(&cancel),
            "CANCEL sip:bob@ims.example SIP/2.0\r\n\
             Via: SIP/2.0/UDP p1.ims.example;branch=z9hG4bK77\r\n\
             Max-Forwards: 70\r\n\
             Route: <sip:s1.ims.example;lr>\r\n\
             Route: <sip:i1.ims.example;lr>\r\n\
             From: <sip:alice@ims.example>;tag=a1\r\n\
             To: <sip:bob@ims.example>\r\n\
             Call-ID: c1\r\n\
             CSeq: 7 CANCEL\r\n\
             Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }
}
