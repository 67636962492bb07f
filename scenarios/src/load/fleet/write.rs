//! The messages of a fleet, written straight into a buffer.

use std::io::Write as _;

use super::super::scan::Seen;
use super::{Job, Setup};

const ICSI: &str = "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"";
const ACCESS: &str = "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;\
    utran-cell-id-3gpp=0010100010000101\r\n";
const ALLOW: &str =
    "Allow: INVITE,ACK,OPTIONS,CANCEL,BYE,UPDATE,INFO,NOTIFY,MESSAGE,PRACK,REFER\r\n";

/// A REGISTER (TS 24.229 §5.1.1.2): `expires` in seconds, 0 to deregister.
pub(super) fn register(
    setup: &Setup,
    (ue, cseq): (u32, u32),
    expires: u32,
    authorization: Option<&str>,
    out: &mut Vec<u8>,
) {
    let domain = setup.people.domain();
    let _ = write!(out, "REGISTER sip:{domain} SIP/2.0\r\n");
    via(setup, ue, format_args!("r{ue}-{cseq}"), out);
    out.extend_from_slice(b"Max-Forwards: 70\r\nFrom: <");
    setup.people.write_impu(ue, out);
    let _ = write!(out, ">;tag=r{cseq}\r\nTo: <");
    setup.people.write_impu(ue, out);
    let _ = write!(out, ">\r\nCall-ID: r{ue}-{:x}\r\nCSeq: {cseq} REGISTER\r\n", setup.run);
    contact(setup, ue, out);
    let _ = write!(out, ";{ICSI};expires={expires}\r\nExpires: {expires}\r\n");
    match authorization {
        Some(value) => {
            let _ = write!(out, "Authorization: {value}\r\n");
        }
        None => {
            out.extend_from_slice(b"Authorization: Digest username=\"");
            setup.people.write_impi(ue, out);
            let _ = write!(
                out,
                "\",realm=\"{domain}\",uri=\"sip:{domain}\",nonce=\"\",response=\"\"\r\n"
            );
        }
    }
    out.extend_from_slice(b"Supported: path\r\n");
    out.extend_from_slice(ACCESS.as_bytes());
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// An INVITE with an offer of audio (TS 24.229 §5.1.3.1).
pub(super) fn invite(setup: &Setup, job: &Job, routes: &[u8], out: &mut Vec<u8>) {
    initial(setup, job, "INVITE", routes, out);
    contact(setup, job.ue, out);
    let _ = write!(
        out,
        ";{ICSI};audio\r\nP-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.mmtel\r\n\
         Accept-Contact: *;{ICSI}\r\nAccept: application/sdp,application/3gpp-ims+xml\r\n\
         P-Early-Media: supported\r\nSupported: timer\r\n{ALLOW}User-Agent: cscf-load\r\n"
    );
    body(setup, job.ue, out);
}

/// A MESSAGE (RFC 3428).
pub(super) fn message(setup: &Setup, job: &Job, routes: &[u8], out: &mut Vec<u8>) {
    const TEXT: &str = "The quick brown fox jumps over the lazy dog.";
    initial(setup, job, "MESSAGE", routes, out);
    let _ = write!(out, "Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{TEXT}", TEXT.len());
}

fn initial(setup: &Setup, job: &Job, method: &str, routes: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, "{method} ");
    setup.people.write_impu(job.peer, out);
    out.extend_from_slice(b" SIP/2.0\r\n");
    via(setup, job.ue, format_args!("c{}-{}-{}", job.index, job.stamp, job.cseq), out);
    out.extend_from_slice(b"Max-Forwards: 70\r\n");
    if routes.is_empty() {
        for route in &setup.routes {
            let _ = write!(out, "Route: <{route}>\r\n");
        }
    } else {
        let _ = write!(out, "Route: <sip:{};lr>,", setup.dut);
        out.extend_from_slice(routes);
        out.extend_from_slice(b"\r\n");
    }
    from(setup, job, out);
    out.extend_from_slice(b"To: <");
    setup.people.write_impu(job.peer, out);
    out.extend_from_slice(b">\r\n");
    call_id(setup, job, method, out);
    out.extend_from_slice(b"P-Preferred-Identity: <");
    setup.people.write_impu(job.ue, out);
    out.extend_from_slice(b">\r\n");
    out.extend_from_slice(ACCESS.as_bytes());
}

/// ACK or BYE in the dialog, by its route set (RFC 3261 §12.2.1.1).
pub(super) fn in_dialog(setup: &Setup, job: &Job, method: &str, cseq: u32, out: &mut Vec<u8>) {
    let _ = write!(out, "{method} ");
    out.extend_from_slice(&job.target);
    out.extend_from_slice(b" SIP/2.0\r\n");
    let kind = method.get(..1).unwrap_or_default();
    via(setup, job.ue, format_args!("c{}-{}-{cseq}{kind}", job.index, job.stamp), out);
    out.extend_from_slice(b"Max-Forwards: 70\r\n");
    out.extend_from_slice(&job.route_set);
    from(setup, job, out);
    out.extend_from_slice(b"To: ");
    out.extend_from_slice(&job.to);
    let (index, stamp, run) = (job.index, job.stamp, setup.run);
    let _ = write!(
        out,
        "\r\nCall-ID: c{index}-{stamp}-{run:x}\r\nCSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

/// The ACK of a refusal: the INVITE's own hop (RFC 3261 §17.1.1.3).
pub(super) fn ack_of_refusal(setup: &Setup, job: &Job, seen: &Seen<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ACK ");
    setup.people.write_impu(job.peer, out);
    out.extend_from_slice(b" SIP/2.0\r\n");
    via(setup, job.ue, format_args!("c{}-{}-{}", job.index, job.stamp, job.cseq), out);
    out.extend_from_slice(b"Max-Forwards: 70\r\n");
    from(setup, job, out);
    out.extend_from_slice(b"To: ");
    out.extend_from_slice(seen.to);
    out.extend_from_slice(b"\r\n");
    call_id(setup, job, "ACK", out);
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// The head of answers to this request: what is copied of it (RFC 3261 §8.2.6.2), with a tag.
pub(super) fn answer_head(seen: &Seen<'_>, tag: Option<u32>, out: &mut Vec<u8>) {
    let mut line = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    for value in seen.all("Via", "v") {
        line("Via: ", value);
    }
    for value in seen.all("Record-Route", "") {
        line("Record-Route: ", value);
    }
    line("From: ", seen.from);
    out.extend_from_slice(b"To: ");
    out.extend_from_slice(seen.to);
    if let Some(tag) = tag {
        let _ = write!(out, ";tag=b{tag}");
    }
    out.extend_from_slice(b"\r\nCall-ID: ");
    out.extend_from_slice(seen.call_id);
    let _ = write!(out, "\r\nCSeq: {} ", seen.cseq);
    out.extend_from_slice(seen.method);
    out.extend_from_slice(b"\r\n");
}

/// An answer without body.
pub(super) fn answer(status: &str, head: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, "SIP/2.0 {status}\r\n");
    out.extend_from_slice(head);
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// 180 of a UE.
pub(super) fn ringing(setup: &Setup, ue: u32, head: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"SIP/2.0 180 Ringing\r\n");
    out.extend_from_slice(head);
    contact(setup, ue, out);
    out.extend_from_slice(b"\r\nContent-Length: 0\r\n\r\n");
}

/// 200 of a UE to INVITE, with an answer of audio.
pub(super) fn answered(setup: &Setup, ue: u32, head: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"SIP/2.0 200 OK\r\n");
    out.extend_from_slice(head);
    contact(setup, ue, out);
    let _ = write!(out, ";{ICSI}\r\n{ALLOW}");
    body(setup, ue, out);
}

fn via(setup: &Setup, ue: u32, branch: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    let (source, run) = (setup.sources.of(ue), setup.run);
    let _ = write!(out, "Via: SIP/2.0/UDP {source};branch=z9hG4bK{run:x}-{branch};rport\r\n");
}

fn contact(setup: &Setup, ue: u32, out: &mut Vec<u8>) {
    let _ = write!(out, "Contact: <sip:u{ue}@{}>", setup.sources.of(ue));
}

fn from(setup: &Setup, job: &Job, out: &mut Vec<u8>) {
    out.extend_from_slice(b"From: <");
    setup.people.write_impu(job.ue, out);
    let _ = write!(out, ">;tag=a{}\r\n", job.stamp);
}

fn call_id(setup: &Setup, job: &Job, method: &str, out: &mut Vec<u8>) {
    let (index, stamp, run, cseq) = (job.index, job.stamp, setup.run, job.cseq);
    let _ = write!(out, "Call-ID: c{index}-{stamp}-{run:x}\r\nCSeq: {cseq} {method}\r\n");
}

/// SDP, the same for offer and answer: one of what is offered is accepted.
fn body(setup: &Setup, ue: u32, out: &mut Vec<u8>) {
    let address = setup.sources.of(ue).ip().to_string();
    let fixed = "\r\nt=0 0\r\nm=audio 49152 RTP/AVP 104 102 101\r\nb=AS:49\r\nb=RS:600\r\n\
        b=RR:2000\r\na=rtpmap:104 AMR-WB/16000/1\r\na=fmtp:104 mode-change-capability=2;max-red=0\
        \r\na=rtpmap:102 AMR/8000/1\r\na=fmtp:102 mode-change-capability=2;max-red=0\r\n\
        a=rtpmap:101 telephone-event/16000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=maxptime:240\r\n\
        a=sendrecv\r\n";
    let (begin, middle) = ("v=0\r\no=- 1 1 IN IP4 ", "\r\ns=-\r\nc=IN IP4 ");
    let length = begin.len() + middle.len() + fixed.len() + 2 * address.len();
    let _ = write!(
        out,
        "Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n\
         {begin}{address}{middle}{address}{fixed}"
    );
}
