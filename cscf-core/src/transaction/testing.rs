//! Fixtures of the transaction tests.

use bytes::Bytes;

use super::Effect;
use crate::ids::Seed;
use crate::sip::{Message, Request, parse};
use crate::time::Instant;
use crate::transport::{Flow, Transport};

/// The node's seed.
pub(crate) const SEED: Seed = Seed([7; 32]);

/// A request with this top Via and another one below it.
pub(crate) fn request(method: &str, via: &str) -> Request {
    let text = format!(
        "{method} sip:bob@ims.example SIP/2.0\r\n\
         Via: {via}\r\n\
         Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@ims.example>;tag=a1\r\n\
         To: <sip:bob@ims.example>\r\n\
         Call-ID: c1\r\n\
         CSeq: 7 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    match parse(&Bytes::from(text)) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// An INVITE with this branch.
pub(crate) fn invite(branch: &str) -> Request {
    request("INVITE", &format!("SIP/2.0/UDP p1.ims.example;branch={branch}"))
}

/// A flow over this transport to a port of the peer.
pub(crate) fn flow(transport: Transport, port: u16) -> Flow {
    Flow {
        transport,
        local: "192.0.2.10:5060".parse().expect("an address"),
        remote: format!("192.0.2.1:{port}").parse().expect("an address"),
        conn: None,
        sa: None,
    }
}

/// Runs a machine from deadline to deadline and says at which milliseconds it sent something, the
/// effects in `out` counting as sent at 0, and when it did something else, and what.
///
/// `step` handles the next deadline and returns its instant, or the last one when there is none.
pub(crate) fn sent_at(
    out: &mut Vec<Effect>,
    mut step: impl FnMut(Option<Instant>, &mut Vec<Effect>) -> Option<Instant>,
) -> (Vec<u64>, (u64, Vec<Effect>)) {
    let mut times = vec![0; out.len()];
    let mut now = None;
    for _ in 0..100 {
        out.clear();
        now = step(now, out);
        let millis = now.expect("a deadline").as_nanos() / 1_000_000;
        match out.as_slice() {
            [] => {}
            [Effect::Send(_)] => times.push(millis),
            _ => return (times, (millis, std::mem::take(out))),
        }
    }
    panic!("the machine never ends");
}

/// The rows of the last table under this heading of `docs/transactions.md`.
pub(crate) fn table(heading: &str) -> Vec<Vec<String>> {
    let document = include_str!("../../../docs/transactions.md");
    let heading = format!("\n## {heading}\n");
    let (_, section) = document.split_once(&heading).expect("the heading");
    let section = section.split("\n## ").next().expect("a section");
    let rows: Vec<Vec<String>> = section
        .lines()
        .filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .skip(2)
        .collect();
    assert!(!rows.is_empty(), "no rows under {heading}");
    rows
}
