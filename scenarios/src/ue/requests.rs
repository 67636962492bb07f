//! Requests outside calls: MESSAGE and OPTIONS of our own, and what comes in from others.

use cscf_core::clause::{rfc3261, rfc3428, ts24229};
use cscf_core::role::{Action, Actions, Env, Incoming, OwnAnswered};
use cscf_core::sip::{HeaderName, Method, Request, Response, RetryAfter};
use cscf_core::time::Duration;
use cscf_core::ua::{Abilities, inspect};

use super::authentication::{For, Outcome};
use super::headers::dialled;
use super::sms::Begins;
use super::{Own, Robot, Ue, UeTimer};

/// Most own requests outside dialogs that wait for an answer.
const PENDING_MAX: usize = 64;
/// Most characters of a message text in a state.
const TEXT_MAX: usize = 256;

/// The bodies it can read.
const CONTENT_TYPES: &[&str] = &[
    "application/sdp",
    "application/3gpp-ims+xml",
    "application/reginfo+xml",
    "application/dtmf-relay",
    "application/vnd.3gpp.sms",
    "message/sipfrag",
    "text/plain",
];
/// The bodies a UE without SMS over IP can read.
pub(super) const WITHOUT_SMS: &[&str] = &[
    "application/sdp",
    "application/3gpp-ims+xml",
    "application/reginfo+xml",
    "application/dtmf-relay",
    "message/sipfrag",
    "text/plain",
];

/// What this UE can do.
pub(super) const ABILITIES: Abilities<'static> = Abilities {
    methods: &[
        Method::Invite,
        Method::Ack,
        Method::Cancel,
        Method::Bye,
        Method::Prack,
        Method::Update,
        Method::Notify,
        Method::Info,
        Method::Message,
        Method::Options,
        Method::Refer,
        Method::Subscribe,
    ],
    schemes: &["sip", "sips", "tel"],
    extensions: &[
        "100rel",
        "precondition",
        "timer",
        "path",
        "gruu",
        "replaces",
        "norefersub",
        "tdialog",
    ],
    content_types: CONTENT_TYPES,
    answer_type: "application/sdp",
};

/// A request of our own that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending {
    what: What,
    request: Request,
    challenged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Message,
    /// NOTIFY of a REFER that made a dialog of its own.
    Notify,
    Options,
    Raw,
    /// An RP message that the service centre answers.
    Sms(Begins),
    /// The report of a short message that came.
    SmsReport,
}

impl Ue {
    pub(super) fn send_message(
        &mut self,
        env: &mut Env<'_>,
        target: &str,
        text: &str,
        out: &mut Actions<UeTimer>,
    ) {
        let target = dialled(target, &self.config.domain);
        let mut request = self.initial_request(env.ids, Method::Message, &target);
        request.set_body("text/plain;charset=UTF-8", text.to_owned());
        self.send_plain(What::Message, request, out);
    }

    pub(super) fn send_options(
        &mut self,
        env: &mut Env<'_>,
        target: &str,
        out: &mut Actions<UeTimer>,
    ) {
        let target = dialled(target, &self.config.domain);
        let mut request = self.initial_request(env.ids, Method::Options, &target);
        request.headers.push(HeaderName::Contact, &self.session_contact());
        request.headers.push(HeaderName::Accept, "application/sdp");
        self.send_plain(What::Options, request, out);
    }

    /// NOTIFY in the dialog of a REFER.
    pub(super) fn send_notify(&mut self, notify: Request, out: &mut Actions<UeTimer>) {
        self.send_plain(What::Notify, notify, out);
    }

    pub(super) fn send_raw(&mut self, request: Request, out: &mut Actions<UeTimer>) {
        self.send_plain(What::Raw, request, out);
    }

    pub(super) fn send_plain(&mut self, what: What, request: Request, out: &mut Actions<UeTimer>) {
        if self.pending.len() >= PENDING_MAX {
            let _ = self.pending.pop_first();
        }
        self.next_pending = self.next_pending.wrapping_add(1);
        let pending = Pending { what, request, challenged: false };
        self.originate(Own::Plain(self.next_pending), &pending.request, out);
        self.pending.insert(self.next_pending, pending);
    }

    /// Sends a request towards the P-CSCF in a transaction of our own.
    pub(super) fn originate(&self, own: Own, request: &Request, out: &mut Actions<UeTimer>) {
        out.push(Action::Originate {
            tag: own.tag(),
            request: Box::new(request.clone()),
            to: self.next_hop(request),
            within: None,
            side: self.own_side(),
        });
    }

    pub(super) fn on_plain_response(
        &mut self,
        env: &mut Env<'_>,
        number: u32,
        answered: &OwnAnswered,
        out: &mut Actions<UeTimer>,
    ) {
        let response = &answered.response;
        if response.is_provisional() {
            return;
        }
        let Some(mut pending) = self.pending.remove(&number) else { return };
        if matches!(response.status, 401 | 407) && !pending.challenged {
            pending.challenged = true;
            if self.authorise(env, &mut pending.request, response) {
                self.originate(Own::Plain(number), &pending.request, out);
                self.pending.insert(number, pending);
                return;
            }
        }
        if let What::Sms(begins) = pending.what {
            let call_id = pending.request.call_id().unwrap_or_default();
            return self.on_sms_answer(env, (begins, call_id, response.status), out);
        }
        out.push(Action::State(match (pending.what, response.status) {
            (What::Message, 200..=299) => "message delivered".to_owned(),
            (What::Message, status) => format!("message failed {status}"),
            (What::Notify | What::Sms(_), _) | (What::SmsReport, 200..=299) => return,
            (What::SmsReport, status) => format!("sms report failed {status}"),
            (What::Options, status) => format!("options answered {status}"),
            (What::Raw, status) => format!("request answered {status}"),
        }));
    }

    /// Puts credentials for a 401 or 407 into a request to be sent again, with the next CSeq
    /// (RFC 3261 §22.2, §22.3). Says whether there are any.
    pub(super) fn authorise(
        &mut self,
        env: &mut Env<'_>,
        request: &mut Request,
        response: &Response,
    ) -> bool {
        let (challenge, credentials) = if response.status == 407 {
            (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization)
        } else {
            (HeaderName::WwwAuthenticate, HeaderName::Authorization)
        };
        let cnonce = env.ids.token(8);
        let what = For {
            method: request.method.as_str(),
            uri: &request.request_uri,
            cnonce: &cnonce,
            body: &request.body,
        };
        let challenges = response.headers.fields(challenge).map(|field| field.value());
        match self.auth.answer(challenges, what) {
            Outcome::Answered(answer) => {
                env.note(ts24229("5.1.2A.1.1"), || format!("answers the {}", response.status));
                request.headers.set(credentials, &answer.to_string());
                let number = request.cseq().map_or(1, |cseq| cseq.number);
                let cseq = format!("{} {}", number.saturating_add(1), request.method);
                request.headers.set(HeaderName::CSeq, &cseq);
                true
            }
            Outcome::MacFailure(..) | Outcome::SyncFailure(..) => false,
            Outcome::Unable(why) => {
                env.refuse(rfc3261("22.2"), || format!("cannot answer the challenge: {why}"));
                false
            }
        }
    }

    /// A request outside all dialogs of ours.
    pub(super) fn on_initial_request(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        if let Err(refusal) = inspect(request, &self.abilities(), |uri| self.is_for_us(uri)) {
            env.refuse(refusal.clause, || format!("{}: {}", refusal.status, refusal.why));
            let response = refusal.response(request);
            return self.reply(incoming, response, out);
        }
        match request.method {
            Method::Invite => self.on_invite(env, incoming, out),
            Method::Refer => self.on_refer_outside(env, incoming, out),
            Method::Subscribe => self.on_subscribe_request(env, incoming, out),
            _ => self.on_plain_request(env, incoming, out),
        }
    }

    /// A request that makes no dialog.
    pub(super) fn on_plain_request(
        &mut self,
        env: &mut Env<'_>,
        incoming: &Incoming,
        out: &mut Actions<UeTimer>,
    ) {
        let request = &incoming.request;
        match request.method {
            Method::Message => self.on_message(env, incoming, out),
            Method::Options => {
                let response = self.options_answer(request);
                self.reply(incoming, response, out);
            }
            _ => {
                env.refuse(rfc3261("12.2.2"), || {
                    format!("{} outside any dialog of ours", request.method)
                });
                self.reply(incoming, request.reply(481), out);
            }
        }
    }

    fn on_message(&mut self, env: &mut Env<'_>, incoming: &Incoming, out: &mut Actions<UeTimer>) {
        let request = &incoming.request;
        if self.is_sms(request) {
            return self.on_sms(env, incoming, out);
        }
        let text = String::from_utf8_lossy(&request.body);
        let text: String = text.chars().take(TEXT_MAX).collect();
        env.note(rfc3428("7"), || "200: the message is here".to_owned());
        self.reply(incoming, request.reply(200), out);
        out.push(Action::State(format!("message received {text}")));
        // What answers another message is not sent back again: two echoes would never end.
        if self.config.robot == Robot::Echo
            && !request.headers.contains(HeaderName::InReplyTo)
            && let Ok(from) = request.from_addr()
        {
            let target = dialled(&from.uri.to_string(), &self.config.domain);
            let mut echo = self.initial_request(env.ids, Method::Message, &target);
            echo.headers.push(HeaderName::InReplyTo, request.call_id().unwrap_or_default());
            echo.set_body("text/plain;charset=UTF-8", text);
            self.send_plain(What::Message, echo, out);
        }
    }

    /// 200 as an INVITE would be answered, with all we can (RFC 3261 §11.2).
    pub(super) fn options_answer(&self, request: &Request) -> Response {
        let busy = self.is_busy();
        let mut response = request.reply(if busy { 486 } else { 200 });
        let headers = &mut response.headers;
        let abilities = self.abilities();
        headers.push(HeaderName::Allow, &abilities.allow());
        headers.push(HeaderName::Accept, &abilities.accept());
        headers.push(HeaderName::AcceptEncoding, "identity");
        headers.push(HeaderName::AcceptLanguage, "en");
        headers.push(HeaderName::Supported, &abilities.supported());
        headers.push(HeaderName::Contact, &self.contact_with_features(None));
        response
    }

    /// Answers with a response of our own.
    pub(super) fn reply(
        &self,
        incoming: &Incoming,
        mut response: Response,
        out: &mut Actions<UeTimer>,
    ) {
        if response.status > 100 {
            self.push_access(&mut response.headers);
        }
        out.push(Action::Reply { context: incoming.context, response: Box::new(response) });
    }
}

/// The Retry-After of a response.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers.get(HeaderName::RetryAfter)?;
    let after = RetryAfter::parse(text).ok()?;
    Some(Duration::from_secs(after.seconds.into()))
}
