//! What an engine counts of its messages: plain numbers in fixed places, so that counting costs
//! nothing that would be felt.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use memchr::memmem;

use crate::operator::Samples;
use crate::sip::{Message, Method};
use crate::time::Duration;

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    In,
    Out,
}

impl Way {
    const ALL: [(&'static str, Self); 2] = [("in", Self::In), ("out", Self::Out)];
}

/// Methods that have a place of their own, and one for all others.
const METHODS: usize = Method::KNOWN.len() + 1;
/// Kinds of responses at most; a peer chooses codes and methods.
const RESPONSES_MAX: usize = 2_000;
/// Upper ends of the buckets of waiting, in microseconds.
const BUCKETS: [(u64, &str); 7] = [
    (1_000, "0.001"),
    (5_000, "0.005"),
    (20_000, "0.02"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (u64::MAX, "+Inf"),
];

/// Messages by way, method and code, and how long those that came in had waited.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    requests: [[u64; METHODS]; 2],
    responses: BTreeMap<(Way, usize, u16), u64>,
    waits: [u64; BUCKETS.len()],
    waited_us: u64,
}

impl Counts {
    /// A message came that could be read.
    pub(super) fn came(&mut self, message: &Message) {
        match message {
            Message::Request(request) => self.request(Way::In, request.method.index()),
            Message::Response(response) => {
                let method = response.cseq().map_or(METHODS - 1, |cseq| cseq.method.index());
                self.response(Way::In, method, response.status);
            }
        }
    }

    /// A message leaves.
    pub(super) fn left(&mut self, bytes: &[u8]) {
        match status(bytes) {
            Some(status) => self.response(Way::Out, index(cseq_method(bytes)), status),
            None => {
                let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
                self.request(Way::Out, index(method));
            }
        }
    }

    /// A message is taken in hand after so long a time.
    pub(super) fn waited(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.waited_us = self.waited_us.saturating_add(micros);
        let bucket = BUCKETS.iter().zip(&mut self.waits).find(|((end, _), _)| micros <= *end);
        if let Some((_, count)) = bucket {
            *count += 1;
        }
    }

    fn request(&mut self, way: Way, method: usize) {
        if let Some(count) = self.requests.get_mut(way as usize).and_then(|it| it.get_mut(method)) {
            *count += 1;
        }
    }

    fn response(&mut self, way: Way, method: usize, status: u16) {
        if let Some(count) = self.responses.get_mut(&(way, method, status)) {
            *count += 1;
        } else if self.responses.len() < RESPONSES_MAX {
            self.responses.insert((way, method, status), 1);
        }
    }

    /// Everything that was counted.
    pub(super) fn tell(&self, samples: &mut Samples) {
        for ((direction, way), counts) in Way::ALL.iter().zip(&self.requests) {
            debug_assert_eq!(self.requests.get(*way as usize), Some(counts));
            for (method, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let labels = [("direction", *direction), ("method", name(method))];
                samples.add("cscf_sip_requests", &labels, *count);
            }
        }
        for ((way, method, status), count) in &self.responses {
            let direction = Way::ALL.iter().find(|(_, it)| it == way).map_or("", |(word, _)| word);
            let code = status.to_string();
            let labels = [("direction", direction), ("method", name(*method)), ("code", &code)];
            samples.add("cscf_sip_responses", &labels, *count);
        }
        for ((_, end), count) in BUCKETS.iter().zip(&self.waits) {
            samples.add("cscf_wait_seconds", &[("le", end)], *count);
        }
        samples.add("cscf_wait_seconds", &[("sum", "us")], self.waited_us);
    }
}

fn name(method: usize) -> &'static str {
    Method::NAMES.get(method).copied().unwrap_or("other")
}

fn index(method: &[u8]) -> usize {
    let is = |known: &Method| known.as_str().as_bytes() == method;
    Method::KNOWN.iter().position(is).unwrap_or(METHODS - 1)
}

/// The status of a message that is a response.
fn status(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// How the line usually begins.
const USUAL: &[u8] = b"\nCSeq:";
/// Made once: making it costs more than a search.
static CSEQ: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(USUAL));

/// The method in CSeq, as it stands in what a node sends: most have the line in the usual form.
fn cseq_method(bytes: &[u8]) -> &[u8] {
    let value = match CSEQ.find(bytes) {
        Some(at) => bytes.get(at + USUAL.len()..),
        None => bytes.split(|byte| *byte == b'\n').find_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = line.split_at_checked(colon)?;
            name.trim_ascii().eq_ignore_ascii_case(b"CSeq").then_some(value.get(1..)?)
        }),
    };
    let words = value.unwrap_or_default().split(u8::is_ascii_whitespace);
    words.filter(|word| !word.is_empty()).nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(counts: &Counts) -> Vec<String> {
        let mut samples = Samples::default();
        counts.tell(&mut samples);
        let rows = samples.into_table().rows;
        rows.iter().filter(|row| row[2] != "0").map(|row| row.join(" ")).collect()
    }

    #[test]
    fn messages_that_leave_are_known_by_their_bytes() {
        let mut counts = Counts::default();
        counts.left(b"INVITE sip:a@b SIP/2.0\r\n\r\n");
        counts.left(b"SING sip:a@b SIP/2.0\r\n\r\n");
        counts.left(b"SIP/2.0 486 Busy\r\nVia: x\r\nCSeq: 7 INVITE\r\n\r\n");
        counts.left(b"SIP/2.0 486 Busy\r\ncseq :7   INVITE\r\n\r\n");
        counts.left(b"SIP/2.0 200 OK\r\n\r\n");
        counts.waited(Duration::from_millis(7));
        let expected = [
            "cscf_sip_requests direction=\"out\",method=\"INVITE\" 1",
            "cscf_sip_requests direction=\"out\",method=\"other\" 1",
            "cscf_sip_responses direction=\"out\",method=\"INVITE\",code=\"486\" 2",
            "cscf_sip_responses direction=\"out\",method=\"other\",code=\"200\" 1",
            "cscf_wait_seconds le=\"0.02\" 1",
            "cscf_wait_seconds sum=\"us\" 7000",
        ];
        assert_eq!(told(&counts), expected);
    }

    #[test]
    fn names_stand_in_the_order_of_the_methods() {
        for (index, method) in Method::KNOWN.iter().enumerate() {
            assert_eq!((name(index), method.index()), (method.as_str(), index));
        }
        assert_eq!(name(Method::Other("SING".into()).index()), "other");
    }

    #[test]
    fn codes_of_a_peer_do_not_grow_the_table_for_ever() {
        let mut counts = Counts::default();
        for method in 0..METHODS {
            for status in 100..700 {
                counts.response(Way::In, method, status);
            }
        }
        assert_eq!(counts.responses.len(), RESPONSES_MAX);
    }
}
