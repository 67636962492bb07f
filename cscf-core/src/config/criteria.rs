//! Initial filter criteria in a lab file (TS 29.228 §B.2.2, §B.2.3): readable keys for what the
//! user profile holds as XML. `docs/filter-criteria.md` describes them.

use std::fmt::Write as _;

use super::lab::choice;
use super::problem::Problems;
use super::tree::{Node, Reader, Value, scalar};
use super::write::quoted;
use crate::ifc::{
    ApplicationServer, Condition, DefaultHandling, InitialFilterCriteria, ProfilePart,
    RegistrationType, ServicePointTrigger, SessionCase, TriggerPoint,
};

const SESSION_CASES: [(&str, SessionCase); 5] = [
    ("originating", SessionCase::Originating),
    ("terminating", SessionCase::TerminatingRegistered),
    ("terminating unregistered", SessionCase::TerminatingUnregistered),
    ("originating unregistered", SessionCase::OriginatingUnregistered),
    ("originating cdiv", SessionCase::OriginatingCdiv),
];

const REGISTRATION_TYPES: [(&str, RegistrationType); 3] = [
    ("initial", RegistrationType::Initial),
    ("re-registration", RegistrationType::ReRegistration),
    ("deregistration", RegistrationType::Deregistration),
];

const HANDLINGS: [(&str, DefaultHandling); 2] = [
    ("continued", DefaultHandling::SessionContinued),
    ("terminated", DefaultHandling::SessionTerminated),
];

const PARTS: [(&str, ProfilePart); 2] =
    [("registered", ProfilePart::Registered), ("unregistered", ProfilePart::Unregistered)];

/// Messages that a third-party REGISTER may carry.
const INCLUDED: [(&str, bool); 2] = [("request", true), ("response", false)];

/// Reads the criteria of a subscriber. Servers are still named as in the file: by the name of a
/// node or by SIP URI.
pub fn filter_criteria(node: &Node, problems: &mut Problems) -> Vec<InitialFilterCriteria> {
    let list = list(node, "filter_criteria must be a list", problems);
    list.iter().filter_map(|node| criterion(node, problems)).collect()
}

fn list<'a>(node: &'a Node, fault: &str, problems: &mut Problems) -> &'a [Node] {
    match &node.value {
        Value::Seq(items) => items,
        Value::Map(_) | Value::Scalar(_) => {
            problems.push(node.at, fault, None);
            &[]
        }
    }
}

/// One value, or a list of values.
fn values<T: Copy>(node: &Node, known: &[(&str, T)], problems: &mut Problems) -> Vec<T> {
    let items = match &node.value {
        Value::Seq(items) => items.as_slice(),
        Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(node),
    };
    items.iter().filter_map(|item| scalar(item, problems, |text| choice(text, known))).collect()
}

fn text(node: &Node, problems: &mut Problems) -> Option<String> {
    scalar(node, problems, |text| Ok(text.to_owned()))
}

fn criterion(node: &Node, problems: &mut Problems) -> Option<InitialFilterCriteria> {
    let mut reader = Reader::new(node, "a filter criterion", problems);
    let priority = reader.required("priority", problems);
    let priority = priority.and_then(|node| {
        scalar(node, problems, |text| text.parse().map_err(|_| format!("`{text}` is no number")))
    });
    let server = reader.required("server", problems).and_then(|node| text(node, problems));
    let default_handling =
        reader.or("default_handling", DefaultHandling::default(), problems, |text| {
            choice(text, &HANDLINGS)
        });
    let service_info = reader.optional("service_info").and_then(|node| text(node, problems));
    let include = reader.optional("include");
    let include = include.map(|node| values(node, &INCLUDED, problems)).unwrap_or_default();
    let profile_part =
        reader.or("profile_part", None, problems, |text| choice(text, &PARTS).map(Some));
    let (all, any) = (reader.optional("all_of"), reader.optional("any_of"));
    reader.finish(problems);
    let point = match (all, any) {
        (Some(_), Some(any)) => {
            problems.push(any.at, "write either `all_of` or `any_of`", None);
            None
        }
        (None, None) => None,
        (all, any) => all.or(any).and_then(|node| trigger_point(node, all.is_some(), problems)),
    };
    Some(InitialFilterCriteria {
        priority: priority?,
        trigger_point: point,
        application_server: ApplicationServer {
            server_name: server?,
            default_handling,
            service_info,
            include_register_request: include.contains(&true),
            include_register_response: include.contains(&false),
        },
        profile_part,
    })
}

/// `all_of`: an AND, a list inside it is an OR; `any_of`: the other way round.
fn trigger_point(node: &Node, conjunctive: bool, problems: &mut Problems) -> Option<TriggerPoint> {
    let groups = list(node, "here must be a list of conditions", problems);
    let mut triggers = Vec::new();
    for (group, node) in (0..).zip(groups) {
        let conditions = match &node.value {
            Value::Seq(items) => items.as_slice(),
            Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(node),
        };
        triggers.extend(conditions.iter().filter_map(|node| condition(node, group, problems)));
    }
    if triggers.is_empty() {
        problems.push(node.at, "no condition stands here", None);
        return None;
    }
    Some(TriggerPoint { conjunctive, triggers })
}

fn condition(node: &Node, group: u32, problems: &mut Problems) -> Option<ServicePointTrigger> {
    let mut reader = Reader::new(node, "a condition", problems);
    let negated = reader.optional("not");
    if let Some(inner) = negated {
        reader.finish(problems);
        let condition = condition(inner, group, problems)?;
        return Some(ServicePointTrigger { negated: !condition.negated, ..condition });
    }
    let mut found = Vec::new();
    for key in ["method", "request_uri", "session_case", "header", "sdp"] {
        found.extend(reader.optional(key).map(|node| (key, node)));
    }
    let content = reader.optional("content").and_then(|node| text(node, problems));
    let kinds = reader.optional("registration");
    let kinds = kinds.map(|node| values(node, &REGISTRATION_TYPES, problems)).unwrap_or_default();
    reader.finish(problems);
    let [(key, value)] = found.as_slice() else {
        let text = "a condition has one of: method, request_uri, session_case, header, sdp";
        problems.push(node.at, text, None);
        return None;
    };
    if !kinds.is_empty() && value.text() != Some("REGISTER") {
        problems.push(node.at, "`registration` goes with `method: REGISTER`", None);
    }
    let condition = if *key == "session_case" {
        let case = scalar(value, problems, |text| choice(text, &SESSION_CASES))?;
        Condition::SessionCase(case)
    } else {
        let text = text(value, problems)?;
        match *key {
            "method" => Condition::Method(text),
            "request_uri" => Condition::RequestUri(text),
            "header" => Condition::SipHeader { header: text, content },
            _ => Condition::SessionDescription { line: text, content },
        }
    };
    let groups = vec![group];
    Some(ServicePointTrigger { negated: false, groups, condition, registration_types: kinds })
}

/// Writes criteria as they are read.
pub(super) fn write_criteria(out: &mut String, list: &[InitialFilterCriteria]) {
    if list.is_empty() {
        return;
    }
    out.push_str("    filter_criteria:\n");
    for ifc in list {
        let server = &ifc.application_server;
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "      - priority: {}\n        server: {}\n        default_handling: {}\n",
            ifc.priority,
            quoted(&server.server_name),
            word(&HANDLINGS, server.default_handling)
        );
        if let Some(info) = &server.service_info {
            let _ = writeln!(out, "        service_info: {}", quoted(info));
        }
        let included = [
            ("request", server.include_register_request),
            ("response", server.include_register_response),
        ];
        let included: Vec<_> = included.iter().filter(|it| it.1).map(|it| it.0).collect();
        if !included.is_empty() {
            let _ = writeln!(out, "        include: [{}]", included.join(", "));
        }
        if let Some(part) = ifc.profile_part {
            let _ = writeln!(out, "        profile_part: {}", word(&PARTS, part));
        }
        if let Some(point) = &ifc.trigger_point {
            write_point(out, point);
        }
    }
}

fn write_point(out: &mut String, point: &TriggerPoint) {
    let key = if point.conjunctive { "all_of" } else { "any_of" };
    let _ = writeln!(out, "        {key}:");
    let mut groups: Vec<u32> = point.triggers.iter().flat_map(|it| it.groups.clone()).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let members = point.triggers.iter().filter(|it| it.groups.contains(&group));
        let members: Vec<String> = members.map(written).collect();
        let _ = match members.as_slice() {
            [one] => writeln!(out, "          - {one}"),
            several => writeln!(out, "          - [{}]", several.join(", ")),
        };
    }
}

fn written(trigger: &ServicePointTrigger) -> String {
    let content = |content: &Option<String>| {
        content.as_ref().map_or_else(String::new, |text| format!(", content: {}", quoted(text)))
    };
    let mut text = match &trigger.condition {
        Condition::Method(method) => format!("method: {}", quoted(method)),
        Condition::RequestUri(uri) => format!("request_uri: {}", quoted(uri)),
        Condition::SessionCase(case) => format!("session_case: {}", word(&SESSION_CASES, *case)),
        Condition::SipHeader { header, content: value } => {
            format!("header: {}{}", quoted(header), content(value))
        }
        Condition::SessionDescription { line, content: value } => {
            format!("sdp: {}{}", quoted(line), content(value))
        }
    };
    if !trigger.registration_types.is_empty() {
        let kinds = trigger.registration_types.iter().map(|it| word(&REGISTRATION_TYPES, *it));
        let _ = write!(text, ", registration: [{}]", kinds.collect::<Vec<_>>().join(", "));
    }
    if trigger.negated { format!("{{not: {{{text}}}}}") } else { format!("{{{text}}}") }
}

fn word<T: Copy + PartialEq>(known: &[(&'static str, T)], value: T) -> &'static str {
    known.iter().find(|(_, its)| *its == value).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::super::tree::read_tree;
    use super::*;

    const FULL: &str = "\
- priority: 10
  server: as1
  default_handling: terminated
  service_info: \"a: \\\"b\\\"\"
  include: [request, response]
  profile_part: registered
  all_of:
    - {method: REGISTER, registration: [initial, deregistration]}
    - [{header: Contact, content: smsip}, {not: {sdp: m, content: \"^audio\"}}]
- priority: 20
  server: sip:as2.ims.example
  any_of:
    - [{session_case: terminating unregistered}, {request_uri: \"^tel:\"}]
    - {not: {header: Supported}}
- {priority: 30, server: as1}
";

    fn read(source: &str) -> (Vec<InitialFilterCriteria>, Vec<String>) {
        let mut problems = Problems::default();
        let list = filter_criteria(&read_tree(source).expect("YAML"), &mut problems);
        (list, problems.0.into_iter().map(|problem| problem.text).collect())
    }

    #[test]
    fn every_key_is_read() {
        let (list, problems) = read(FULL);
        assert_eq!(problems, Vec::<String>::new());
        let [one, two, three] = list.as_slice() else { panic!("{list:?}") };
        let server = &one.application_server;
        assert_eq!((one.priority, server.server_name.as_str()), (10, "as1"));
        assert_eq!(server.default_handling, DefaultHandling::SessionTerminated);
        assert_eq!(server.service_info.as_deref(), Some("a: \"b\""));
        assert!(server.include_register_request && server.include_register_response);
        assert_eq!(one.profile_part, Some(ProfilePart::Registered));
        let point = one.trigger_point.as_ref().unwrap();
        assert!(point.conjunctive);
        let groups: Vec<_> = point.triggers.iter().map(|it| it.groups.as_slice()).collect();
        assert_eq!(groups, [[0], [1], [1]]);
        assert!(point.triggers[2].negated);
        let types = &point.triggers[0].registration_types;
        assert_eq!(types, &[RegistrationType::Initial, RegistrationType::Deregistration]);
        assert!(!two.trigger_point.as_ref().unwrap().conjunctive);
        assert_eq!(three.trigger_point, None);
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let (list, _) = read(FULL);
        let mut out = String::new();
        write_criteria(&mut out, &list);
        let tree = read_tree(&out).expect("YAML");
        let Value::Map(entries) = &tree.value else { panic!("{out}") };
        let mut problems = Problems::default();
        assert_eq!(filter_criteria(&entries[0].node, &mut problems), list, "{out}");
    }

    #[test]
    fn mistakes_are_told() {
        let (_, problems) = read("- {priority: x, server: a, any_of: [{metod: INVITE}]}\n");
        assert_eq!(
            problems,
            [
                "`x` is no number",
                "unknown key `metod` in a condition",
                "a condition has one of: method, request_uri, session_case, header, sdp",
                "no condition stands here"
            ]
        );
        let (_, problems) = read("- {priority: 1, server: a, all_of: [{session_case: orig}]}\n");
        assert!(problems[0].starts_with("`orig` is not known here"), "{problems:?}");
        let (_, problems) =
            read("- {priority: 1, server: a, all_of: [{method: BYE, registration: initial}]}\n");
        assert_eq!(problems, ["`registration` goes with `method: REGISTER`"]);
    }
}
