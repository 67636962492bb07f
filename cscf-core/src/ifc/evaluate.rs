//! Evaluates initial filter criteria (TS 23.218 §5.2, TS 29.228 Annex C): which application servers
//! want a request. Pure: the same criteria and the same request give the same answer.
//!
//! A profile is compiled once, when it arrives. Sending the request to a server, and what happens
//! when that fails, is the S-CSCF's.

use std::fmt::Write as _;

use super::expression::{Expression, Expressions};
use super::model::{
    ApplicationServer, Condition, InitialFilterCriteria, ProfilePart, RegistrationType,
    ServicePointTrigger, ServiceProfile, SessionCase,
};
use crate::sip::{HeaderName, Method, Request};

/// What a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The request.
    pub request: &'a Request,
    /// The session case; of a REGISTER originating.
    pub session_case: SessionCase,
    /// What a REGISTER does; none for other requests.
    pub registration: Option<RegistrationType>,
    /// Whether the served user is registered: which part of the profile holds.
    pub registered: bool,
}

/// The filter criteria of one service profile, in the order in which they are looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters {
    list: Vec<Filter>,
}

/// One initial filter criterion, ready to be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// `Priority`: smaller is first.
    pub priority: u32,
    /// Where a request that matches goes.
    pub server: ApplicationServer,
    part: Option<ProfilePart>,
    point: Option<Point>,
}

/// A trigger point; its triggers by group.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    /// An AND of ORs; else an OR of ANDs.
    conjunctive: bool,
    groups: Vec<Vec<Trigger>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Trigger {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Method(Box<str>, Vec<RegistrationType>),
    RequestUri(Expression),
    SessionCase(SessionCase),
    /// Name and value, of a header or of a line of SDP.
    Header(Expression, Option<Expression>),
    Line(Expression, Option<Expression>),
}

impl Filters {
    /// Compiles the criteria of a service profile. What cannot be used is told in words, with the
    /// priority of its criterion; such an expression never matches.
    #[must_use]
    pub fn compile(profile: &ServiceProfile, all: &mut Expressions) -> (Self, Vec<String>) {
        let mut faults = Vec::new();
        let mut list: Vec<Filter> = profile
            .initial_filter_criteria
            .iter()
            .map(|criterion| Filter::compile(criterion, all, &mut faults))
            .collect();
        // Stable: equal priorities, which the schema forbids, stay in the order of the document.
        list.sort_by_key(|filter| filter.priority);
        (Self { list }, faults)
    }

    /// The criteria in the order of their priorities.
    #[must_use]
    pub fn list(&self) -> &[Filter] {
        &self.list
    }

    /// The first criterion at or behind `from` that the request matches, with its position: the
    /// next one is looked for behind it, with the request as it came back from the server
    /// (TS 23.218 §5.2.2).
    #[must_use]
    pub fn next(&self, from: usize, subject: &Subject<'_>) -> Option<(usize, &Filter)> {
        let rest = self.list.iter().enumerate().skip(from);
        rest.into_iter().find(|(_, filter)| filter.mismatch(subject).is_none())
    }

    /// All criteria that the request matches, in order: those of a REGISTER, which goes to each
    /// (TS 24.229 §5.4.1.7).
    pub fn matching<'a>(&'a self, subject: &'a Subject<'a>) -> impl Iterator<Item = &'a Filter> {
        self.list.iter().filter(|filter| filter.mismatch(subject).is_none())
    }
}

impl Filter {
    fn compile(
        criterion: &InitialFilterCriteria,
        all: &mut Expressions,
        faults: &mut Vec<String>,
    ) -> Self {
        let point = criterion.trigger_point.as_ref().map(|point| {
            let mut groups: Vec<(u32, Vec<Trigger>)> = Vec::new();
            for spt in &point.triggers {
                let trigger = Trigger { negated: spt.negated, test: Test::compile(spt, all) };
                if let Some(text) = trigger.test.unusable() {
                    faults.push(format!(
                        "the filter criterion of priority {} has no regular expression in {text:?}",
                        criterion.priority
                    ));
                }
                for group in &spt.groups {
                    match groups.iter_mut().find(|(number, _)| number == group) {
                        Some((_, list)) => list.push(trigger.clone()),
                        None => groups.push((*group, vec![trigger.clone()])),
                    }
                }
            }
            let groups = groups.into_iter().map(|(_, list)| list).collect();
            Point { conjunctive: point.conjunctive, groups }
        });
        Self {
            priority: criterion.priority,
            server: criterion.application_server.clone(),
            part: criterion.profile_part,
            point,
        }
    }

    /// Why the request does not match, in words; `None` when it does.
    #[must_use]
    pub fn mismatch(&self, subject: &Subject<'_>) -> Option<String> {
        match (self.part, subject.registered) {
            (Some(ProfilePart::Registered), false) => {
                return Some("it is for the registered user".to_owned());
            }
            (Some(ProfilePart::Unregistered), true) => {
                return Some("it is for the unregistered user".to_owned());
            }
            _ => {}
        }
        let point = self.point.as_ref()?;
        point.mismatch(subject)
    }
}

impl Point {
    fn mismatch(&self, subject: &Subject<'_>) -> Option<String> {
        let matches = |trigger: &&Trigger| trigger.matches(subject);
        if self.conjunctive {
            let failed = self.groups.iter().find(|group| !group.iter().any(|it| matches(&it)))?;
            return Some(format!("{} does not hold", words(failed, " or ")));
        }
        if self.groups.iter().any(|group| group.iter().all(|it| matches(&it))) {
            return None;
        }
        let failed = self.groups.iter().filter_map(|group| group.iter().find(|it| !matches(it)));
        let failed: Vec<Trigger> = failed.cloned().collect();
        Some(format!("{} does not hold", words(&failed, " nor ")))
    }
}

fn words(list: &[Trigger], between: &str) -> String {
    let mut out = String::new();
    for (number, trigger) in list.iter().take(4).enumerate() {
        if number > 0 {
            out.push_str(between);
        }
        trigger.describe(&mut out);
    }
    out
}

impl Trigger {
    /// An expression that is none does not match, negated or not.
    fn matches(&self, subject: &Subject<'_>) -> bool {
        self.test.unusable().is_none() && self.test.holds(subject) != self.negated
    }

    fn describe(&self, out: &mut String) {
        if self.negated {
            out.push_str("not ");
        }
        // Writing to a String does not fail.
        let _ = match &self.test {
            Test::Method(method, kinds) if kinds.is_empty() => write!(out, "method {method}"),
            Test::Method(method, kinds) => write!(out, "method {method} {kinds:?}"),
            Test::RequestUri(uri) => write!(out, "Request-URI /{}/", uri.text),
            Test::SessionCase(case) => write!(out, "session case {case:?}"),
            Test::Header(name, None) => write!(out, "header {}", name.text),
            Test::Header(name, Some(value)) => {
                write!(out, "header {}: /{}/", name.text, value.text)
            }
            Test::Line(line, None) => write!(out, "SDP {}=", line.text),
            Test::Line(line, Some(value)) => write!(out, "SDP {}=/{}/", line.text, value.text),
        };
    }
}

impl Test {
    fn compile(trigger: &ServicePointTrigger, all: &mut Expressions) -> Self {
        match &trigger.condition {
            Condition::Method(method) => {
                Self::Method(method.as_str().into(), trigger.registration_types.clone())
            }
            Condition::RequestUri(uri) => Self::RequestUri(all.anywhere(uri)),
            Condition::SessionCase(case) => Self::SessionCase(*case),
            Condition::SessionDescription { line, content } => {
                let content = content.as_ref().map(|text| all.anywhere(text));
                Self::Line(all.whole_name(line), content)
            }
            Condition::SipHeader { header, content } => {
                let content = content.as_ref().map(|text| all.anywhere(text));
                Self::Header(all.whole_name(header), content)
            }
        }
    }

    /// The text of the first expression that is none.
    fn unusable(&self) -> Option<&str> {
        let (name, value) = match self {
            Self::Method(..) | Self::SessionCase(_) => return None,
            Self::RequestUri(uri) => (uri, None),
            Self::Header(name, value) | Self::Line(name, value) => (name, value.as_ref()),
        };
        let mut list = std::iter::once(name).chain(value);
        list.find(|expression| !expression.is_usable()).map(|expression| &*expression.text)
    }

    fn holds(&self, subject: &Subject<'_>) -> bool {
        let request = subject.request;
        match self {
            Self::Method(method, kinds) => {
                // Registration types only mean something with REGISTER (TS 29.228 §B.2.3).
                let kind = request.method != Method::Register
                    || kinds.is_empty()
                    || subject.registration.is_some_and(|kind| kinds.contains(&kind));
                request.method.as_str() == &**method && kind
            }
            Self::RequestUri(uri) => uri.is_found_in(&request.request_uri),
            Self::SessionCase(case) => subject.session_case == *case,
            Self::Header(name, value) => request.headers.iter().any(|field| {
                // The compact form is the same header (RFC 3261 §7.3.3).
                let known = match field.name() {
                    HeaderName::Unknown => field.name_text(),
                    known => known.as_str(),
                };
                name.is_found_in(known)
                    && value.as_ref().is_none_or(|value| value.is_found_in(&field.unfolded()))
            }),
            Self::Line(line, value) => sdp_lines(request).any(|(kind, text)| {
                line.is_found_in(kind) && value.as_ref().is_none_or(|value| value.is_found_in(text))
            }),
        }
    }
}

/// Type letter and value of each line of the session description, if there is one.
fn sdp_lines(request: &Request) -> impl Iterator<Item = (&str, &str)> {
    let kind = request.headers.get(HeaderName::ContentType).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let body: &[u8] =
        if kind.eq_ignore_ascii_case("application/sdp") { &request.body } else { b"" };
    let text = std::str::from_utf8(body).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ifc::{PublicIdentity, TriggerPoint};
    use crate::sip::{Message, parse};

    const INVITE: &str = "INVITE sip:+15550102@ims.example;user=phone SIP/2.0\r\n\
        v: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nf: <sip:alice@ims.example>;tag=1\r\n\
        To: <sip:+15550102@ims.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
        Record-Route: <sip:p1.example;lr>\r\nX-Own: one\r\nX-Own: two\r\n\
        Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"\r\n\
        Content-Type: application/sdp\r\nContent-Length: 58\r\n\r\n\
        v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nm=audio 4000 RTP/AVP 97\r\n";

    const REGISTER: &str = "REGISTER sip:ims.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:alice@ims.example>;tag=1\r\n\
        To: <sip:alice@ims.example>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\
        Contact: <sip:10.0.0.1>;+g.3gpp.smsip\r\nContent-Length: 0\r\n\r\n";

    fn request(text: &str) -> Request {
        match parse(&bytes::Bytes::copy_from_slice(text.as_bytes())) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn spt(condition: Condition) -> ServicePointTrigger {
        ServicePointTrigger {
            negated: false,
            groups: vec![0],
            condition,
            registration_types: Vec::new(),
        }
    }

    fn criterion(priority: u32, conjunctive: bool, triggers: Vec<ServicePointTrigger>) -> Wanted {
        InitialFilterCriteria {
            priority,
            trigger_point: Some(TriggerPoint { conjunctive, triggers }),
            application_server: ApplicationServer {
                server_name: format!("sip:as{priority}.ims.example"),
                ..ApplicationServer::default()
            },
            profile_part: None,
        }
    }

    type Wanted = InitialFilterCriteria;

    fn filters(list: Vec<Wanted>) -> (Filters, Vec<String>) {
        let profile = ServiceProfile {
            public_identities: vec![PublicIdentity::open("sip:alice@ims.example")],
            initial_filter_criteria: list,
            ..ServiceProfile::default()
        };
        Filters::compile(&profile, &mut Expressions::new())
    }

    fn originating(request: &Request) -> Subject<'_> {
        let session_case = SessionCase::Originating;
        Subject { request, session_case, registration: None, registered: true }
    }

    fn holds(condition: Condition, text: &str) -> bool {
        let request = request(text);
        let (list, _) = filters(vec![criterion(1, true, vec![spt(condition)])]);
        list.next(0, &originating(&request)).is_some()
    }

    fn header(header: &str, content: Option<&str>) -> Condition {
        Condition::SipHeader { header: header.into(), content: content.map(Into::into) }
    }

    fn line(line: &str, content: Option<&str>) -> Condition {
        Condition::SessionDescription { line: line.into(), content: content.map(Into::into) }
    }

    #[test]
    fn each_kind_of_condition_looks_at_its_part_of_the_request() {
        let table = [
            (Condition::Method("INVITE".into()), true),
            (Condition::Method("invite".into()), false),
            (Condition::Method("INV".into()), false),
            (Condition::RequestUri("^sip:\\+1555".into()), true),
            (Condition::RequestUri("user=phone".into()), true),
            (Condition::RequestUri("^tel:".into()), false),
            (Condition::SessionCase(SessionCase::Originating), true),
            (Condition::SessionCase(SessionCase::TerminatingRegistered), false),
            (header("Accept-Contact", None), true),
            (header("accept-contact", Some("icsi\\.mmtel")), true),
            (header("Accept-Contact", Some("ICSI\\.MMTEL")), false),
            (header("Accept-Contact", Some("msrp")), false),
            (header("Supported", None), false),
            // The name as a whole: Route is not in Record-Route.
            (header("Route", None), false),
            (header("(Record-)?Route", None), true),
            (header("From", Some("alice")), true),
            (header("X-Own", Some("^two$")), true),
            (header("x-(own|other)", Some("three")), false),
            (line("m", Some("^audio ")), true),
            (line("m", Some("video")), false),
            (line("[mb]", None), true),
            (line("b", None), false),
        ];
        for (condition, expected) in table {
            assert_eq!(holds(condition.clone(), INVITE), expected, "{condition:?}");
        }
        assert!(!holds(line("v", None), REGISTER), "no session description");
    }

    #[test]
    fn groups_make_an_and_of_ors_or_an_or_of_ands() {
        let (yes, no) = (|| Condition::Method("INVITE".into()), || Condition::Method("BYE".into()));
        let at = |condition, groups: &[u32]| ServicePointTrigger {
            groups: groups.to_vec(),
            ..spt(condition)
        };
        let not = |condition, groups: &[u32]| ServicePointTrigger {
            negated: true,
            ..at(condition, groups)
        };
        // Triggers, what it is as CNF, what it is as DNF.
        let table = [
            (vec![at(yes(), &[0]), at(no(), &[0])], true, false),
            (vec![at(yes(), &[0]), at(no(), &[1])], false, true),
            (vec![at(yes(), &[0]), at(yes(), &[1])], true, true),
            (vec![at(no(), &[0]), at(no(), &[1])], false, false),
            (vec![not(no(), &[0]), not(yes(), &[1])], false, true),
            (vec![at(yes(), &[0, 1]), at(no(), &[1])], true, true),
            (vec![at(no(), &[0, 1]), at(yes(), &[0, 1])], true, false),
            (vec![not(yes(), &[7])], false, false),
        ];
        let invite = request(INVITE);
        for (number, (triggers, cnf, dnf)) in table.into_iter().enumerate() {
            for (conjunctive, expected) in [(true, cnf), (false, dnf)] {
                let (list, _) = filters(vec![criterion(1, conjunctive, triggers.clone())]);
                let found = list.next(0, &originating(&invite)).is_some();
                assert_eq!(found, expected, "row {number}, conjunctive {conjunctive}");
            }
        }
    }

    #[test]
    fn a_registration_type_holds_for_register_alone() {
        use RegistrationType::{Deregistration, Initial, ReRegistration};
        let of = |method: &str, kinds: &[RegistrationType]| {
            let registration_types = kinds.to_vec();
            let spt =
                ServicePointTrigger { registration_types, ..spt(Condition::Method(method.into())) };
            filters(vec![criterion(1, true, vec![spt])]).0
        };
        let (register, invite) = (request(REGISTER), request(INVITE));
        let does = |list: &Filters, kind| {
            let subject = Subject { registration: Some(kind), ..originating(&register) };
            list.next(0, &subject).is_some()
        };
        let some = of("REGISTER", &[Initial, Deregistration]);
        assert!(
            does(&some, Initial) && does(&some, Deregistration) && !does(&some, ReRegistration)
        );
        let any = of("REGISTER", &[]);
        assert!(does(&any, Initial) && does(&any, ReRegistration));
        assert!(of("INVITE", &[Initial]).next(0, &originating(&invite)).is_some());
        assert!(some.next(0, &originating(&invite)).is_none());
    }

    #[test]
    fn criteria_are_looked_at_in_the_order_of_their_priority() {
        let invite = || vec![spt(Condition::Method("INVITE".into()))];
        let bye = vec![spt(Condition::Method("BYE".into()))];
        let unconditional = Wanted { trigger_point: None, ..criterion(30, true, Vec::new()) };
        let list = vec![
            unconditional,
            criterion(20, true, invite()),
            criterion(5, true, bye),
            criterion(10, false, invite()),
        ];
        let (list, faults) = filters(list);
        assert!(faults.is_empty());
        let request = request(INVITE);
        let subject = originating(&request);
        let order: Vec<u32> = list.matching(&subject).map(|it| it.priority).collect();
        assert_eq!(order, [10, 20, 30]);
        let (at, first) = list.next(0, &subject).unwrap();
        assert_eq!(first.server.server_name, "sip:as10.ims.example");
        let (at, second) = list.next(at + 1, &subject).unwrap();
        assert_eq!(second.priority, 20);
        let (at, _) = list.next(at + 1, &subject).unwrap();
        assert!(list.next(at + 1, &subject).is_none());
    }

    #[test]
    fn a_part_of_the_profile_holds_for_the_registered_or_the_unregistered_user() {
        let request = request(INVITE);
        for (part, registered, unregistered) in [
            (None, true, true),
            (Some(ProfilePart::Registered), true, false),
            (Some(ProfilePart::Unregistered), false, true),
        ] {
            let wanted = Wanted {
                profile_part: part,
                trigger_point: None,
                ..criterion(1, true, Vec::new())
            };
            let (list, _) = filters(vec![wanted]);
            let found = |registered| {
                let subject = Subject { registered, ..originating(&request) };
                list.next(0, &subject).is_some()
            };
            assert_eq!((found(true), found(false)), (registered, unregistered), "{part:?}");
        }
    }

    #[test]
    fn a_broken_expression_is_told_and_never_matches() {
        let broken = Condition::RequestUri("(".into());
        let not = ServicePointTrigger { negated: true, ..spt(broken.clone()) };
        let (list, faults) = filters(vec![
            criterion(1, true, vec![spt(broken)]),
            criterion(2, true, vec![not]),
            criterion(3, true, vec![spt(Condition::Method("INVITE".into()))]),
        ]);
        assert_eq!(
            faults,
            [
                "the filter criterion of priority 1 has no regular expression in \"(\"",
                "the filter criterion of priority 2 has no regular expression in \"(\""
            ]
        );
        let request = request(INVITE);
        assert_eq!(list.next(0, &originating(&request)).map(|(_, it)| it.priority), Some(3));
    }

    #[test]
    fn a_mismatch_says_what_does_not_hold() {
        let not = ServicePointTrigger {
            negated: true,
            groups: vec![1],
            ..spt(header("From", Some("alice")))
        };
        let (list, _) = filters(vec![
            criterion(1, true, vec![spt(Condition::Method("INVITE".into())), not.clone()]),
            criterion(2, false, vec![spt(Condition::Method("BYE".into())), not]),
        ]);
        let request = request(INVITE);
        let said: Vec<_> =
            list.list().iter().map(|it| it.mismatch(&originating(&request))).collect();
        assert_eq!(said[0].as_deref(), Some("not header From: /alice/ does not hold"));
        assert_eq!(
            said[1].as_deref(),
            Some("method BYE nor not header From: /alice/ does not hold")
        );
    }
}
