//! The policy function of the lab: a machine that answers by [`Rules`].

use std::collections::{BTreeMap, VecDeque};

use super::{
    Conduct, MediaWish, PolicyAnswer, PolicyEvent, PolicyRequest, PolicySession, PolicyWish, Rules,
};
use crate::cx::AskId;
use crate::ids::Seed;
use crate::map::SeededState;
use crate::time::{Deadlines, Instant};

/// Sessions on record; more are granted without being watched.
const SESSIONS_MAX: usize = 1_000_000;
/// Rate of a medium without `b=AS`, in kbit/s: of audio, of video, of anything else.
const USUAL_KBPS: (u64, u64, u64) = (64, 384, 16);

/// What the policy function says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The answer to a question.
    Answer(AskId, PolicyAnswer),
    /// Something it was not asked.
    Event(PolicyEvent),
    /// Why, for the trace.
    Note(String),
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Due {
    /// An answer that is late.
    Answer(AskId),
    /// The end of a session's bearers.
    Loss(PolicySession),
}

/// The policy function.
#[derive(Debug)]
pub struct Function {
    rules: Rules,
    /// Makes the fingerprints.
    state: SeededState,
    /// The sessions, each with a fingerprint of whose it is.
    sessions: BTreeMap<PolicySession, u64>,
    deadlines: Deadlines<Due>,
    said: VecDeque<Told>,
}

impl Function {
    /// A policy function with these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            // Users are those that the network has, so no peer chooses what is marked.
            state: SeededState::new(&Seed::derive(0, "policy function")),
            sessions: BTreeMap::new(),
            deadlines: Deadlines::default(),
            said: VecDeque::new(),
        }
    }

    /// The sessions with resources.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Another conduct from now on.
    pub fn set_conduct(&mut self, who: Option<&str>, conduct: Conduct) {
        self.rules.set(who, conduct);
    }

    /// A question.
    pub fn ask(&mut self, now: Instant, ask: AskId, request: &PolicyRequest) {
        self.ask_for(now, ask, request, self.rules.towards(&request.who));
    }

    /// A question that is to be dealt with so.
    pub fn ask_for(&mut self, now: Instant, ask: AskId, request: &PolicyRequest, conduct: Conduct) {
        let PolicyRequest { session, who, wish } = request;
        let media = match wish {
            PolicyWish::Authorize(media) => media,
            PolicyWish::End => {
                self.sessions.remove(session);
                self.deadlines.cancel(&Due::Loss(*session));
                self.said.push_back(Told::Answer(ask, PolicyAnswer::Granted));
                return;
            }
        };
        let bps = bits_per_second(media);
        let wanted = format!("{}.{:03} kbit/s for {who}", bps / 1_000, bps % 1_000);
        self.said.push_back(Told::Note(format!("the policy function: {wanted}: {conduct}")));
        match conduct {
            Conduct::Silent => return,
            Conduct::Refuses => return self.refuse(ask, None),
            Conduct::RefusesAbove(kbps) if bps > kbps.saturating_mul(1_000) => {
                return self.refuse(ask, Some(kbps));
            }
            Conduct::Accepts | Conduct::RefusesAbove(_) => self.grant(ask),
            Conduct::Late(time) => self.deadlines.set(Due::Answer(ask), now + time),
            Conduct::LostAfter(time) => {
                self.grant(ask);
                self.deadlines.set(Due::Loss(*session), now + time);
            }
        }
        if self.sessions.len() < SESSIONS_MAX {
            self.sessions.insert(*session, self.state.fingerprint(who.as_str()));
        }
    }

    fn grant(&mut self, ask: AskId) {
        self.said.push_back(Told::Answer(ask, PolicyAnswer::Granted));
    }

    fn refuse(&mut self, ask: AskId, acceptable_kbps: Option<u64>) {
        self.said.push_back(Told::Answer(ask, PolicyAnswer::Refused { acceptable_kbps }));
    }

    /// The bearers of all sessions of a user are lost now; says of how many.
    pub fn lose(&mut self, who: &str) -> usize {
        let who = self.state.fingerprint(who);
        let lost: Vec<PolicySession> =
            self.sessions.iter().filter(|(_, its)| **its == who).map(|(id, _)| *id).collect();
        for session in &lost {
            self.lose_session(*session);
        }
        lost.len()
    }

    fn lose_session(&mut self, session: PolicySession) {
        self.deadlines.cancel(&Due::Loss(session));
        if self.sessions.remove(&session).is_some() {
            self.said.push_back(Told::Event(PolicyEvent::BearerLost(session)));
        }
    }

    /// The bearer of a user's signalling is lost now.
    pub fn lose_signalling(&mut self, who: &str) {
        self.said.push_back(Told::Event(PolicyEvent::SignallingLost(who.to_owned())));
    }

    /// Acts on what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.deadlines.pop_due(now) {
            match due {
                Due::Answer(ask) => self.grant(ask),
                Due::Loss(session) => self.lose_session(session),
            }
        }
    }

    /// The next time it wants to be woken.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Takes what it has said.
    pub fn poll(&mut self) -> Option<Told> {
        self.said.pop_front()
    }
}

/// What the media take, RTCP included: a twentieth of the session bandwidth where neither `b=RS`
/// nor `b=RR` says otherwise (RFC 3550 §6.2, RFC 3556 §2).
fn bits_per_second(media: &[MediaWish]) -> u64 {
    let of = |medium: &MediaWish| {
        let (audio, video, other) = USUAL_KBPS;
        let usual = match medium.kind.as_str() {
            "audio" => audio,
            "video" => video,
            _ => other,
        };
        let rtp = medium.as_kbps.unwrap_or(usual).saturating_mul(1_000);
        let rtcp = match (medium.rs_bps, medium.rr_bps) {
            (None, None) => rtp / 20,
            (senders, receivers) => {
                senders.unwrap_or_default().saturating_add(receivers.unwrap_or_default())
            }
        };
        rtp.saturating_add(rtcp)
    };
    media.iter().map(of).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    const SHORT: Duration = Duration::from_millis(1);

    fn audio(as_kbps: u64, rtcp: Option<u64>) -> Vec<MediaWish> {
        let kind = "audio".to_owned();
        vec![MediaWish { kind, as_kbps: Some(as_kbps), rs_bps: rtcp, rr_bps: rtcp }]
    }

    fn asked(function: &mut Function, media: Vec<MediaWish>) -> Vec<Told> {
        let request = PolicyRequest {
            session: PolicySession(1),
            who: "alice@ims.example".to_owned(),
            wish: PolicyWish::Authorize(media),
        };
        function.ask(Instant::EPOCH, AskId(1), &request);
        said(function)
    }

    fn said(function: &mut Function) -> Vec<Told> {
        let all = std::iter::from_fn(|| function.poll());
        all.filter(|told| !matches!(told, Told::Note(_))).collect()
    }

    const GRANTED: Told = Told::Answer(AskId(1), PolicyAnswer::Granted);

    /// P-SDP-040.
    #[test]
    fn rtcp_counts_a_twentieth_where_nothing_is_said_and_nothing_where_zero_is_said() {
        let rules = Rules { all: Conduct::RefusesAbove(42), ..Rules::default() };
        let refused = PolicyAnswer::Refused { acceptable_kbps: Some(42) };
        let mut function = Function::new(rules);
        assert_eq!(asked(&mut function, audio(41, None)), [Told::Answer(AskId(1), refused)]);
        assert_eq!(asked(&mut function, audio(41, Some(0))), [GRANTED]);
    }

    #[test]
    fn bearers_are_lost_once_and_only_those_of_the_user() {
        let mut function = Function::new(Rules::default());
        assert_eq!(asked(&mut function, audio(41, None)), [GRANTED]);
        assert_eq!(function.lose("bob@ims.example"), 0);
        assert_eq!(function.lose("alice@ims.example"), 1);
        assert_eq!(said(&mut function), [Told::Event(PolicyEvent::BearerLost(PolicySession(1)))]);
        assert_eq!(function.lose("alice@ims.example"), 0);
    }

    #[test]
    fn a_late_answer_comes_and_bearers_end_after_their_time() {
        let mut function = Function::new(Rules::default());
        function.set_conduct(None, Conduct::Late(SHORT));
        assert_eq!(asked(&mut function, audio(41, None)), []);
        function.handle_timeout(Instant::EPOCH + SHORT);
        assert_eq!(said(&mut function), [GRANTED]);
        function.set_conduct(Some("alice@ims.example"), Conduct::LostAfter(SHORT));
        assert_eq!(asked(&mut function, audio(41, None)), [GRANTED]);
        function.handle_timeout(Instant::EPOCH + SHORT);
        assert_eq!(said(&mut function), [Told::Event(PolicyEvent::BearerLost(PolicySession(1)))]);
        assert_eq!(function.session_count(), 0);
    }

    #[test]
    fn a_conduct_reads_back_as_itself() {
        for text in
            ["accepts", "refuses", "refuses above 64", "late 2s", "lost after 1500ms", "silent"]
        {
            let conduct: Result<Conduct, String> = text.parse();
            assert_eq!(conduct.map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for (text, fault) in [("refuse", "refuses above 64"), ("late 2", "`2` is no time")] {
            let wrong: Result<Conduct, String> = text.parse();
            assert!(wrong.expect_err(text).contains(fault));
        }
    }
}
