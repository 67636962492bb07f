//! Calls and messages of a fleet, both sides.

use std::net::{Ipv4Addr, SocketAddrV4};

use cscf_core::time::Instant;

use super::super::results::{Cause, Latency};
use super::super::scan::{self, Seen};
use super::{Callee, CalleeStage, Fleet, Job, Side, Stage, write};

impl Fleet {
    pub(super) fn call(&mut self, job: &mut Job, now: Instant) {
        job.stage = Stage::Inviting;
        let route = self.take_route(job.ue);
        self.transmit(job, now, |setup, job, out| write::invite(setup, job, &route, out));
        self.put_route(job.ue, route);
    }

    pub(super) fn text(&mut self, job: &mut Job, now: Instant) {
        job.stage = Stage::Messaging;
        let route = self.take_route(job.ue);
        self.transmit(job, now, |setup, job, out| write::message(setup, job, &route, out));
        self.put_route(job.ue, route);
    }

    /// Lends the Service-Route of a UE, so that it need not be copied.
    fn take_route(&mut self, ue: u32) -> Vec<u8> {
        self.route_of(ue).map(std::mem::take).unwrap_or_default()
    }

    fn put_route(&mut self, ue: u32, route: Vec<u8>) {
        if let Some(place) = self.route_of(ue) {
            *place = route;
        }
    }

    fn route_of(&mut self, ue: u32) -> Option<&mut Vec<u8>> {
        let place = self.ues.get(ue as usize)?.route.checked_sub(1)?;
        self.service_routes.get_mut(usize::from(place))
    }

    pub(super) fn call_answered(
        &mut self,
        job: &mut Job,
        code: u16,
        seen: &Seen<'_>,
        now: Instant,
    ) {
        match (seen.method, job.stage) {
            (b"INVITE", Stage::Inviting | Stage::Rings) => match code {
                100..200 => {
                    if code == 180 && !job.rang {
                        self.count(job, Latency::Ringing, now);
                        job.rang = true;
                    }
                    // Whatever is provisional stops the retransmission (RFC 3261 §17.1.1.2).
                    job.stage = Stage::Rings;
                    let until = now + self.setup.timeout + self.setup.ring;
                    self.set(job, Side::Caller, until);
                }
                200..300 => self.answered(job, seen, now),
                _ => {
                    self.push(job.ue, self.setup.dut, |out, setup| {
                        write::ack_of_refusal(setup, job, seen, out);
                    });
                    self.over(job, Some(Cause::Code("INVITE", code)));
                }
            },
            (b"INVITE", Stage::Talking | Stage::Ending) if (200..300).contains(&code) => {
                if job.measured {
                    self.results.came_again += 1;
                }
                self.ack(job);
            }
            (b"BYE", Stage::Ending) if code >= 200 => {
                let cause = (code >= 300).then_some(Cause::Code("BYE", code));
                if cause.is_none() {
                    self.count(job, Latency::Bye, now);
                }
                self.over(job, cause);
            }
            (b"MESSAGE", Stage::Messaging) if code >= 200 => {
                let cause = (code >= 300).then_some(Cause::Code("MESSAGE", code));
                if cause.is_none() {
                    self.count(job, Latency::Message, now);
                }
                self.over(job, cause);
            }
            _ => {}
        }
    }

    /// The dialog is there (RFC 3261 §12.1.2): ACK, and BYE when it has been held.
    fn answered(&mut self, job: &mut Job, seen: &Seen<'_>, now: Instant) {
        self.count(job, Latency::Answer, now);
        job.stage = Stage::Talking;
        job.to.clear();
        job.to.extend_from_slice(seen.to);
        job.target.clear();
        let contact = seen.first("Contact", "m").map(scan::uri).unwrap_or_default();
        job.target.extend_from_slice(contact);
        job.route_set.clear();
        let recorded: Vec<&[u8]> = seen.all("Record-Route", "").flat_map(scan::elements).collect();
        for route in recorded.iter().rev() {
            for part in [&b"Route: "[..], route, b"\r\n"] {
                job.route_set.extend_from_slice(part);
            }
        }
        let first = recorded.last().map_or(contact, |route| scan::uri(route));
        job.next_hop = Some(self.next_hop(first));
        self.ack(job);
        self.set(job, Side::Caller, now + self.setup.hold);
    }

    /// Where a request in the dialog goes: always to the system under test, and to another port of
    /// it where the route says so. Nobody's answer directs the load to a third party.
    fn next_hop(&self, uri: &[u8]) -> SocketAddrV4 {
        let (host, port) = scan::host_port(uri);
        let host = std::str::from_utf8(host).ok().and_then(|it| it.parse::<Ipv4Addr>().ok());
        match host == Some(*self.setup.dut.ip()) {
            true => SocketAddrV4::new(*self.setup.dut.ip(), port.unwrap_or(5060)),
            false => self.setup.dut,
        }
    }

    fn ack(&mut self, job: &Job) {
        let to = job.next_hop.unwrap_or(self.setup.dut);
        self.push(job.ue, to, |out, setup| write::in_dialog(setup, job, "ACK", job.cseq, out));
    }

    pub(super) fn bye(&mut self, job: &mut Job, now: Instant) {
        job.stage = Stage::Ending;
        self.transmit(job, now, |setup, job, out| {
            write::in_dialog(setup, job, "BYE", job.cseq + 1, out);
        });
    }

    /// A request that arrives: mostly at the callee.
    pub(super) fn request(
        &mut self,
        job: &mut Job,
        (method, seen): (&[u8], &Seen<'_>),
        from: SocketAddrV4,
        now: Instant,
    ) {
        let back = answer_to(seen, from);
        let by_caller = memchr::memmem::find(seen.from, b";tag=a").is_some();
        let at = if by_caller { job.peer } else { job.ue };
        match method {
            b"INVITE" if job.callee.stage == CalleeStage::Idle && by_caller => {
                self.rings(job, seen, back, now);
            }
            b"INVITE" => {
                if job.measured {
                    self.results.came_again += 1;
                }
                self.push(at, back, |out, _| out.extend_from_slice(&job.callee.answer));
            }
            b"ACK" => {
                if job.callee.stage == CalleeStage::Answered {
                    job.callee.stage = CalleeStage::Confirmed;
                    self.stop(job, Side::Callee);
                }
            }
            _ => {
                let head = std::mem::take(&mut job.callee.head);
                let head = Self::write_head(seen, (method != b"BYE").then_some(job.stamp), head);
                self.push(at, back, |out, _| write::answer("200 OK", &head, out));
                job.callee.head = head;
                match method {
                    b"BYE" if by_caller => self.stop(job, Side::Callee),
                    b"BYE" => {
                        let cause = Cause::Unexpected("call released by the network");
                        self.over(job, Some(cause));
                    }
                    _ => {}
                }
            }
        }
    }

    fn write_head(seen: &Seen<'_>, tag: Option<u32>, mut head: Vec<u8>) -> Vec<u8> {
        head.clear();
        let has_tag = memchr::memmem::find(seen.to, b";tag=").is_some();
        write::answer_head(seen, tag.filter(|_| !has_tag), &mut head);
        head
    }

    fn rings(&mut self, job: &mut Job, seen: &Seen<'_>, back: SocketAddrV4, now: Instant) {
        let head = std::mem::take(&mut job.callee.head);
        job.callee.head = Self::write_head(seen, Some(job.stamp), head);
        job.callee.stage = CalleeStage::Rings;
        job.callee.to = Some(back);
        let at = self.push(job.peer, back, |out, setup| {
            write::ringing(setup, job.peer, &job.callee.head, out);
        });
        self.keep_answer(job, at);
        if self.setup.ring.is_zero() {
            return self.callee_due(job, now);
        }
        self.set(job, Side::Callee, now + self.setup.ring);
    }

    fn keep_answer(&self, job: &mut Job, at: std::ops::Range<usize>) {
        job.callee.answer.clear();
        job.callee.answer.extend_from_slice(self.out.get(at).unwrap_or_default());
    }

    /// The callee has rung long enough, or its 200 has no ACK yet (RFC 3261 §13.3.1.4).
    pub(super) fn callee_due(&mut self, job: &mut Job, now: Instant) {
        let Callee { stage, to: Some(to), .. } = job.callee else { return };
        match stage {
            CalleeStage::Rings => {
                let at = self.push(job.peer, to, |out, setup| {
                    write::answered(setup, job.peer, &job.callee.head, out);
                });
                self.keep_answer(job, at);
                job.callee.stage = CalleeStage::Answered;
                (job.callee.tries, job.callee.answered_at) = (0, now);
                self.set(job, Side::Callee, now + self.setup.t1);
            }
            CalleeStage::Answered => {
                if now.since(job.callee.answered_at) >= self.setup.timeout {
                    return self.over(job, Some(Cause::Timeout("200 to INVITE")));
                }
                self.again(job.measured);
                self.push(job.peer, to, |out, _| out.extend_from_slice(&job.callee.answer));
                job.callee.tries += 1;
                let wait = self.interval(job.callee.tries, false);
                let end = job.callee.answered_at + self.setup.timeout;
                self.set(job, Side::Callee, (now + wait).min(end));
            }
            CalleeStage::Idle | CalleeStage::Confirmed => {}
        }
    }
}

/// Where the answer to a request goes: to the address it came from and the port of its Via, or the
/// port it came from where Via has `rport` (RFC 3261 §18.2.2, RFC 3581).
fn answer_to(seen: &Seen<'_>, from: SocketAddrV4) -> SocketAddrV4 {
    let via = seen.first("Via", "v").unwrap_or_default();
    let via = scan::elements(via).next().unwrap_or_default();
    let mut parts = via.split(|byte| *byte == b';');
    let sent_by = parts.next().unwrap_or_default();
    if parts.any(|part| part.trim_ascii().starts_with(b"rport")) {
        return from;
    }
    let sent_by = sent_by.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let (_, port) = scan::host_port(sent_by);
    SocketAddrV4::new(*from.ip(), port.unwrap_or(5060))
}
