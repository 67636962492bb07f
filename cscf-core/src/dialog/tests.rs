//! Both ends of a dialog, from messages as text.

use super::*;
use crate::sip::{Message, parse};

fn message(text: &str) -> Message {
    let text =
        format!("{}\r\n\r\n", text.trim().lines().map(str::trim).collect::<Vec<_>>().join("\r\n"));
    parse(&text.into()).expect("parses")
}

fn request(text: &str) -> Request {
    match message(text) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

fn response(text: &str) -> Response {
    match message(text) {
        Message::Response(response) => response,
        Message::Request(_) => panic!("a request"),
    }
}

const INVITE: &str = "INVITE sip:bob@ims.example SIP/2.0
    Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1
    Record-Route: <sip:p2.ims.example;lr>, <sip:p1.ims.example;lr>
    From: \"Alice\" <sip:alice@ims.example>;tag=a1
    To: <sip:bob@ims.example>
    Call-ID: call1
    CSeq: 7 INVITE
    Contact: <sip:alice@10.0.0.1>;audio";

const RINGING: &str = "SIP/2.0 180 Ringing
    Record-Route: <sip:p2.ims.example;lr>, <sip:p1.ims.example;lr>
    From: \"Alice\" <sip:alice@ims.example>;tag=a1
    To: <sip:bob@ims.example>;tag=b1
    Call-ID: call1
    CSeq: 7 INVITE
    Contact: <sip:bob@10.0.0.2>";

#[test]
fn the_caller_sends_bye_along_the_reversed_record_route() {
    let mut dialog = Dialog::at_caller(&request(INVITE), &response(RINGING)).expect("a dialog");
    assert_eq!(dialog.state, DialogState::Early);

    let ok = response(&RINGING.replace("180 Ringing", "200 OK").replace("10.0.0.2", "10.0.0.3"));
    dialog.confirm(&ok);
    let bye = dialog.request(Method::Bye);

    assert_eq!(dialog.state, DialogState::Confirmed);
    let bytes = bye.to_bytes();
    assert_eq!(
        std::str::from_utf8(&bytes).expect("text"),
        "BYE sip:bob@10.0.0.3 SIP/2.0\r\n\
         Max-Forwards: 70\r\n\
         Route: <sip:p1.ims.example;lr>\r\n\
         Route: <sip:p2.ims.example;lr>\r\n\
         From: \"Alice\" <sip:alice@ims.example>;tag=a1\r\n\
         To: <sip:bob@ims.example>;tag=b1\r\n\
         Call-ID: call1\r\n\
         CSeq: 8 BYE\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let ack = dialog.ack(7);
    assert_eq!(ack.headers.get(HeaderName::CSeq), Some("7 ACK"));
}

#[test]
fn the_callee_sends_along_record_route_and_starts_its_own_cseq() {
    let mut dialog = Dialog::at_callee(&request(INVITE), "b1").expect("a dialog");
    assert_eq!(dialog.remote_target, "sip:alice@10.0.0.1");

    let bye = dialog.request(Method::Bye);

    let routes: Vec<&str> = bye.headers.values(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:p2.ims.example;lr>", "<sip:p1.ims.example;lr>"]);
    assert_eq!(bye.headers.get(HeaderName::From), Some("<sip:bob@ims.example>;tag=b1"));
    assert_eq!(bye.headers.get(HeaderName::CSeq), Some("1 BYE"));
}

#[test]
fn both_ends_name_the_dialog_alike_but_mirrored() {
    let caller = DialogId::of_response(&response(RINGING));
    let callee = Dialog::at_callee(&request(INVITE), "b1").expect("a dialog").id;
    assert_eq!((&caller.local_tag, &caller.remote_tag), (&callee.remote_tag, &callee.local_tag));
}

#[test]
fn a_cseq_that_does_not_grow_is_out_of_order() {
    let mut dialog = Dialog::at_callee(&request(INVITE), "b1").expect("a dialog");
    let update = |number: u32| {
        let mut request = request(INVITE);
        request.method = Method::Update;
        request.headers.set(HeaderName::CSeq, &format!("{number} UPDATE"));
        request
    };
    assert_eq!(dialog.take_cseq(&update(7)), Err(OutOfOrder { found: 7, last: 7 }));
    assert_eq!(dialog.take_cseq(&update(9)), Ok(()));
    assert_eq!(dialog.take_cseq(&update(8)), Err(OutOfOrder { found: 8, last: 9 }));
    let mut ack = update(7);
    ack.method = Method::Ack;
    assert_eq!(dialog.take_cseq(&ack), Ok(()));
}

#[test]
fn a_response_without_to_tag_or_contact_makes_no_dialog() {
    let without = |part: &str| response(&RINGING.replace(part, ""));
    let made = |response: &Response| Dialog::at_caller(&request(INVITE), response);
    assert_eq!(made(&without(";tag=b1")), Err(DialogError::ToTagMissing));
    let contact = "Contact: <sip:bob@10.0.0.2>";
    assert_eq!(made(&without(contact)), Err(DialogError::ContactMissing));
}
