//! TCP as far as a reader of captures needs it: the bytes of each direction in order, whatever came
//! twice, in another order or not at all.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use cscf_core::time::Duration;
use etherparse::TcpSlice;

use super::Captured;
use super::ip::Packet;
use super::stream::{Seen, Stream};

/// Directions at most; when there are more, all are given up and picked up in their middle.
const DIRECTIONS_MAX: usize = 8_192;
/// Segments that wait for one before them, at most, in one direction.
const WAITING_MAX: usize = 256;
/// Bytes that wait in one direction at most.
const WAITING_BYTES_MAX: usize = 256 * 1_024;
/// After this time what is missing was missed by the capture, not by the receiver.
const MISSED_AFTER: Duration = Duration::from_secs(2);

/// All connections of a capture.
#[derive(Debug, Default)]
pub(super) struct Connections {
    directions: BTreeMap<(SocketAddr, SocketAddr), Direction>,
    gaps: Vec<u64>,
    gap_count: usize,
}

#[derive(Debug)]
struct Direction {
    stream: Stream,
    /// The next sequence number.
    next: u32,
    /// Where the stream has come: nothing in it is complete earlier.
    latest: Seen,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    sequence: u32,
    seen: Seen,
    bytes: Vec<u8>,
}

impl Connections {
    /// Takes one segment; messages that are whole now go to `out`.
    pub(super) fn segment(
        &mut self,
        packet: &Packet,
        segment: &TcpSlice<'_>,
        seen: Seen,
        out: &mut Vec<Captured>,
    ) {
        let from = SocketAddr::new(packet.from, segment.source_port());
        let to = SocketAddr::new(packet.to, segment.destination_port());
        if segment.syn() || segment.rst() {
            if let Some(mut old) = self.directions.remove(&(from, to)) {
                self.gap(old.give_up(out));
            }
            if segment.rst() {
                return;
            }
        }
        let sequence = segment.sequence_number().wrapping_add(u32::from(segment.syn()));
        if segment.payload().is_empty() && !segment.syn() {
            return;
        }
        if !self.directions.contains_key(&(from, to)) && self.directions.len() >= DIRECTIONS_MAX {
            self.finish(out);
        }
        let direction = self.directions.entry((from, to)).or_insert_with(|| Direction {
            stream: Stream::new(from, to),
            next: sequence,
            latest: seen,
            waiting: Vec::new(),
            waiting_bytes: 0,
        });
        let gap = direction.take(sequence, seen, segment.payload(), out);
        self.gap(gap);
    }

    /// Gives out what still waits.
    pub(super) fn finish(&mut self, out: &mut Vec<Captured>) {
        for (_, mut direction) in std::mem::take(&mut self.directions) {
            self.gap(direction.give_up(out));
        }
    }

    /// What the capture missed, in words.
    pub(super) fn flaws(&self) -> Option<String> {
        let first: Vec<String> = self.gaps.iter().map(u64::to_string).collect();
        (self.gap_count > 0).then(|| {
            let count = self.gap_count;
            format!("bytes of TCP are missing {count} times, before frame {}", first.join(", "))
        })
    }

    fn gap(&mut self, before: Option<u64>) {
        let Some(frame) = before else { return };
        self.gap_count += 1;
        if self.gaps.len() < 10 {
            self.gaps.push(frame);
        }
    }
}

impl Direction {
    /// Takes one segment. Gives back the frame before which something is missing, if what waits has
    /// waited long enough.
    fn take(
        &mut self,
        sequence: u32,
        seen: Seen,
        payload: &[u8],
        out: &mut Vec<Captured>,
    ) -> Option<u64> {
        self.arrived(sequence, seen, payload, out);
        let is_old = |it: &Waiting| seen.at.since(it.seen.at) > MISSED_AFTER;
        let full = self.waiting.len() > WAITING_MAX || self.waiting_bytes > WAITING_BYTES_MAX;
        if full || self.waiting.iter().any(is_old) { self.skip_gap(out) } else { None }
    }

    fn arrived(&mut self, sequence: u32, seen: Seen, payload: &[u8], out: &mut Vec<Captured>) {
        if payload.is_empty() {
            return;
        }
        if !self.fits(sequence, seen, payload, out) {
            self.waiting_bytes += payload.len();
            self.waiting.push(Waiting { sequence, seen, bytes: payload.to_vec() });
            return;
        }
        self.release(out);
    }

    /// Gives a segment to the stream if it is due or partly over; not if something before it lacks.
    fn fits(&mut self, sequence: u32, seen: Seen, bytes: &[u8], out: &mut Vec<Captured>) -> bool {
        let ahead = sequence.wrapping_sub(self.next);
        // The upper half of the numbers is the past (RFC 9293 §3.4).
        let over = if ahead >= 1 << 31 { self.next.wrapping_sub(sequence) } else { 0 };
        if over == 0 && ahead > 0 {
            return false;
        }
        let new = usize::try_from(over).ok().and_then(|over| bytes.get(over..)).unwrap_or_default();
        if !new.is_empty() {
            if seen.frame > self.latest.frame {
                self.latest = seen;
            }
            self.stream.push(new, self.latest, out);
            self.next = self.next.wrapping_add(u32::try_from(new.len()).unwrap_or_default());
        }
        true
    }

    fn release(&mut self, out: &mut Vec<Captured>) {
        self.waiting.sort_by_key(|it| it.sequence.wrapping_sub(self.next).wrapping_add(1 << 31));
        while let Some(first) = self.waiting.first() {
            let due = first.sequence.wrapping_sub(self.next);
            if due != 0 && due < 1 << 31 {
                return;
            }
            let first = self.waiting.remove(0);
            self.waiting_bytes = self.waiting_bytes.saturating_sub(first.bytes.len());
            self.fits(first.sequence, first.seen, &first.bytes, out);
        }
    }

    /// Goes on after what is missing.
    fn skip_gap(&mut self, out: &mut Vec<Captured>) -> Option<u64> {
        let first = self.waiting.iter().min_by_key(|it| it.sequence.wrapping_sub(self.next))?;
        let frame = first.seen.frame;
        self.next = first.sequence;
        self.stream.interrupted();
        self.release(out);
        Some(frame)
    }

    fn give_up(&mut self, out: &mut Vec<Captured>) -> Option<u64> {
        let mut gap = None;
        while !self.waiting.is_empty() {
            gap = gap.or(self.skip_gap(out));
        }
        gap
    }
}
