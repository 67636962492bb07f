//! Registrations of a fleet: REGISTER, challenge, REGISTER, 200.

use cscf_core::time::Instant;

use super::super::plan::Work;
use super::super::results::{Cause, Latency};
use super::super::scan::Seen;
use super::{Fleet, Job, SERVICE_ROUTES_MAX, Stage, write};

impl Fleet {
    pub(super) fn register(&mut self, job: &mut Job, now: Instant) {
        job.stage = Stage::Registering;
        self.send_register(job, None, now);
    }

    fn send_register(&mut self, job: &mut Job, authorization: Option<&str>, now: Instant) {
        let Some(ue) = self.ues.get_mut(job.ue as usize) else { return };
        ue.cseq += 1;
        ue.job = job.index + 1;
        job.cseq = ue.cseq;
        self.transmit(job, now, |setup, job, out| {
            let expires = if job.work == Some(Work::Deregister) { 0 } else { setup.expires };
            write::register(setup, (job.ue, job.cseq), expires, authorization, out);
        });
    }

    pub(super) fn register_answered(
        &mut self,
        job: &mut Job,
        code: u16,
        seen: &Seen<'_>,
        now: Instant,
    ) {
        // An answer to an earlier REGISTER that came again.
        if seen.cseq != job.cseq || code < 200 {
            return;
        }
        match code {
            401 if !job.challenged => {
                self.count(job, Latency::RegisterChallenge, now);
                job.challenged = true;
                let uri = format!("sip:{}", self.setup.people.domain());
                let cnonce = self.ids.token(8);
                let challenge = seen.first("WWW-Authenticate", "").unwrap_or_default();
                match self.setup.people.answer(job.ue, challenge, &uri, &cnonce) {
                    Ok(credentials) => {
                        self.send_register(job, Some(&credentials.to_string()), now);
                    }
                    Err(why) => self.over(job, Some(Cause::Challenge(why))),
                }
            }
            200..300 => {
                self.count(job, Latency::Register, now);
                let registered = job.work != Some(Work::Deregister);
                let route = if registered { self.service_route(seen) } else { 0 };
                if let Some(ue) = self.ues.get_mut(job.ue as usize) {
                    (ue.registered, ue.route) = (registered, route);
                }
                self.over(job, None);
            }
            401 => self.over(job, Some(Cause::Challenge("challenged twice (wrong password?)"))),
            _ => self.over(job, Some(Cause::Code("REGISTER", code))),
        }
    }

    /// The place of the Service-Route of a 200 (RFC 3608), plus one; most UEs have the same.
    fn service_route(&mut self, seen: &Seen<'_>) -> u16 {
        let mut route = Vec::new();
        for value in seen.all("Service-Route", "") {
            if !route.is_empty() {
                route.push(b',');
            }
            route.extend_from_slice(value);
        }
        if route.is_empty() {
            return 0;
        }
        let known = self.service_routes.iter().position(|it| *it == route);
        let place = known.unwrap_or(self.service_routes.len());
        if place >= SERVICE_ROUTES_MAX {
            return 0;
        }
        if known.is_none() {
            self.service_routes.push(route);
        }
        u16::try_from(place + 1).unwrap_or(0)
    }
}
