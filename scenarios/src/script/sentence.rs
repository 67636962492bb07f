//! One sentence of a step: subject, verb, object, time.

use cscf_core::config::{duration, nearest};
use cscf_core::operator;
use cscf_core::time::Duration;

use super::{Expectation, Order, Seen, StepKind};
use crate::ue::{CallOptions, Dtmf};

/// How long an expectation waits where the sentence says nothing.
const WITHIN: Duration = Duration::from_secs(10);

const VERBS: [&str; 37] = [
    "adds",
    "answers",
    "asks",
    "calls",
    "cancels",
    "crashes",
    "decides",
    "deregisters",
    "diagnoses",
    "drains",
    "drops",
    "fetches",
    "fills",
    "frees",
    "hangs",
    "holds",
    "is",
    "loses",
    "publishes",
    "re-registers",
    "receives",
    "redirects",
    "refreshes",
    "refuses",
    "registers",
    "rejects",
    "restarts",
    "resumes",
    "rings",
    "sends",
    "subscribes",
    "texts",
    "transfers",
    "unsubscribes",
    "waits",
    "withdraws",
    "wait",
];

/// Reads a sentence.
///
/// # Errors
///
/// What is wrong with it and, where possible, the word that was meant.
pub(super) fn read(sentence: &str) -> Result<StepKind, String> {
    let words = words(sentence)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["faults", "end"] => "fault remove all".parse().map(StepKind::Operate),
        ["no", "longer", ..] => {
            let rule = sentence.trim_start().strip_prefix("no").unwrap_or_default().trim_start();
            let rule = rule.strip_prefix("longer").unwrap_or_default().trim();
            format!("fault remove {rule}").parse().map(StepKind::Operate)
        }
        ["wait", time @ ..] => duration(&time.concat()).map(StepKind::Wait),
        [node, "crashes"] => Ok(StepKind::Crash { node: (*node).to_owned() }),
        [node, "restarts"] => Ok(StepKind::Restart { node: (*node).to_owned() }),
        ["operator", rest @ ..] => operator(rest).map(StepKind::Operate),
        [node, "drains"] => format!("drain {node}").parse().map(StepKind::Operate),
        [_, "sends", "RTR", "for", who, "with", reason @ ..] => rtr(who, reason),
        [_, "sends", "PPR", "for", who] => format!("ppr {who}").parse().map(StepKind::Operate),
        [server, "calls", target, "for", user] => of_server(server, "call", &[target], user),
        [server, "sends", "message", text, "to", target, "for", user] => {
            of_server(server, "message", &[target, text], user)
        }
        [server, "sends", "sms", text, "to", target, "for", user] => {
            of_server(server, "sms", &[target, text], user)
        }
        [node, verb @ ("sends" | "receives"), rest @ ..] if !is_text(rest) => {
            message(node, *verb == "receives", rest)
        }
        [node, "decides", rest @ ..] => {
            let (rest, within) = within(rest)?;
            expectation(node, Seen::Note { clause: clause(&rest)? }, within)
        }
        [node, "diagnoses", rest @ ..] => {
            let (rest, within) = within(rest)?;
            match rest.first() {
                None => expectation(node, Seen::Diagnosis, within),
                Some(word) => Err(format!("`{word}` is not understood here")),
            }
        }
        [ue, "is", rest @ ..] => {
            let (rest, no_earlier, within) = match (rest, window(rest)) {
                // In a text these words mean nothing.
                (["message" | "sms", "received", ..], Err(_)) => (rest.to_vec(), None, WITHIN),
                (_, read) => read?,
            };
            if rest.is_empty() {
                return Err(format!("say what `{ue}` is, e.g. `{ue} is registered`"));
            }
            let (node, what, fields) = ((*ue).to_owned(), Seen::State(rest.join(" ")), Vec::new());
            Ok(StepKind::Expect(Expectation { node, what, within, no_earlier, fields }))
        }
        [ue, rest @ ..] => {
            let order = order(rest)?;
            Ok(StepKind::Command { ue: (*ue).to_owned(), order })
        }
        [] => Err("an empty step".to_owned()),
    }
}

/// What the operator does, in words or in the form of `cscf ctl`.
fn operator(words: &[&str]) -> Result<operator::Order, String> {
    let text = match words {
        ["orders", text] => (*text).to_owned(),
        ["deregisters", who, rest @ ..] => {
            let mut text = format!("dereg {who}");
            for pair in rest.chunks(2) {
                match pair {
                    ["with", reason] => text.push_str(&format!(" --reason {reason}")),
                    ["at", uri] => text.push_str(&format!(" --contact {uri}")),
                    _ => return Err(format!("`{}` is not understood here", pair.join(" "))),
                }
            }
            text
        }
        ["re-authenticates", who] => format!("reauth {who}"),
        ["re-authenticates", who, "within", time @ ..] => {
            let within = duration(&time.concat())?;
            if within != Duration::from_secs(within.as_secs()) || within == Duration::ZERO {
                return Err(format!("`{}` is no whole number of seconds", time.join(" ")));
            }
            format!("reauth {who} --within {}s", within.as_secs())
        }
        ["forgets", who] => format!("forget {who}"),
        _ => {
            const KNOWN: [&str; 4] = ["deregisters", "re-authenticates", "forgets", "orders"];
            let verb = words.first().copied().unwrap_or_default();
            return Err(match nearest(verb, KNOWN) {
                Some(near) if near != verb => {
                    format!("`{verb}` is nothing an operator does; did you mean `{near}`?")
                }
                _ => format!("the operator {}, with whom or what behind it", KNOWN.join(", ")),
            });
        }
    };
    text.parse()
}

/// What an application server begins for a user, or for itself.
fn of_server(server: &str, verb: &str, what: &[&&str], user: &str) -> Result<StepKind, String> {
    let what: Vec<&str> = what.iter().map(|it| **it).collect();
    let user = if user == "itself" { String::new() } else { format!(" --for {user}") };
    format!("{verb} {server} {}{user}", what.join(" ")).parse().map(StepKind::Operate)
}

/// The reasons of an RTR in words (TS 29.229 §6.3.17).
fn rtr(who: &str, reason: &[&str]) -> Result<StepKind, String> {
    let word = match reason {
        ["permanent", "termination"] => "permanent",
        ["new", "server", "assigned"] => "new-server",
        ["server", "change"] => "server-change",
        ["remove", "S-CSCF"] => "remove",
        [word] => word,
        _ => return Err(format!("`{}` is no reason of an RTR", reason.join(" "))),
    };
    format!("rtr {who} --reason {word}").parse().map(StepKind::Operate)
}

/// Words, with `"…"` as one word.
fn words(sentence: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut rest = sentence.trim_start();
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('"') {
            Some(quoted) => {
                quoted.split_once('"').ok_or("a quotation mark is not closed".to_owned())?
            }
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        out.push(word.to_owned());
        rest = tail.trim_start();
    }
    Ok(out)
}

/// `sends message "…" to bob`, `sends sms "…" to bob`, `sends request FOO to bob` and `sends dtmf "…"` are commands, all
/// other `sends` are expectations.
fn is_text(rest: &[&str]) -> bool {
    matches!(rest, ["message" | "request" | "dtmf" | "sms", ..])
}

/// Splits `… within 2s` off.
fn within<'a>(words: &'a [&'a str]) -> Result<(Vec<&'a str>, Duration), String> {
    match words.iter().rposition(|word| *word == "within") {
        None => Ok((words.to_vec(), WITHIN)),
        Some(at) => {
            let time = words.get(at + 1..).unwrap_or_default().concat();
            Ok((words.get(..at).unwrap_or_default().to_vec(), duration(&time)?))
        }
    }
}

/// Splits off when something may come: `… within 2s`, `… between 50s and 70s`,
/// `… no earlier than 30s`, which may be followed by `within 70s`.
fn window<'a>(words: &'a [&'a str]) -> Result<(Vec<&'a str>, Option<Duration>, Duration), String> {
    let split = |at: usize| words.split_at_checked(at).unwrap_or((words, &[]));
    if let Some(at) = words.iter().position(|word| *word == "between") {
        let (before, times) = split(at);
        let and = times.iter().position(|word| *word == "and");
        let (least, most) = and
            .and_then(|and| Some((times.get(1..and)?, times.get(and + 1..)?)))
            .ok_or("write e.g. `between 50s and 70s`")?;
        let (least, most) = (duration(&least.concat())?, duration(&most.concat())?);
        if least > most {
            return Err(format!("between {least:?} and {most:?} is no time"));
        }
        return Ok((before.to_vec(), Some(least), most));
    }
    let three = ["no", "earlier", "than"];
    if let Some(at) = words.windows(3).position(|window| window == three) {
        let (before, times) = split(at);
        let (least, most) = within(times.get(3..).unwrap_or_default())?;
        let least = duration(&least.concat())?;
        if times.contains(&"within") && least > most {
            return Err(format!("no earlier than {least:?} within {most:?} is no time"));
        }
        let most = if times.contains(&"within") { most } else { least + WITHIN };
        return Ok((before.to_vec(), Some(least), most));
    }
    let (before, most) = within(words)?;
    Ok((before, None, most))
}

fn expectation(node: &str, what: Seen, within: Duration) -> Result<StepKind, String> {
    let (node, fields) = (node.to_owned(), Vec::new());
    Ok(StepKind::Expect(Expectation { node, what, within, no_earlier: None, fields }))
}

fn clause(words: &[&str]) -> Result<String, String> {
    match words {
        [kind @ ("TS" | "RFC"), number, section] => {
            Ok(format!("{kind} {number} §{}", section.trim_start_matches('§')))
        }
        ["cscf", name] => Ok(format!("cscf §{name}")),
        _ => Err("write the clause like `TS 24.229 5.4.1.2.2` or `RFC 3261 16.7`".to_owned()),
    }
}

fn message(node: &str, received: bool, words: &[&str]) -> Result<StepKind, String> {
    let (words, no_earlier, within) = window(words)?;
    let (never, words) = match words.as_slice() {
        ["no", rest @ ..] => (true, rest.to_vec()),
        _ => (false, words),
    };
    let Some((label, mut rest)) = words.split_first() else {
        return Err("say which message, e.g. `receives 200 for INVITE`".to_owned());
    };
    let (mut answers, mut peer) = (None, None);
    loop {
        rest = match rest {
            [] => break,
            ["for", method, tail @ ..] if answers.is_none() => {
                answers = Some((*method).to_owned());
                tail
            }
            ["from", name, tail @ ..] if received && peer.is_none() => {
                peer = Some((*name).to_owned());
                tail
            }
            ["to", name, tail @ ..] if !received && peer.is_none() => {
                peer = Some((*name).to_owned());
                tail
            }
            [other, ..] => {
                let direction = if received { "from NAME" } else { "to NAME" };
                let known = format!("for METHOD, {direction}, within TIME");
                return Err(format!("`{other}` is not understood here; there is: {known}"));
            }
        };
    }
    let what = Seen::Message { received, label: (*label).to_owned(), answers, peer };
    if never && no_earlier.is_some() {
        return Err("what must not be has `within` only".to_owned());
    }
    let (node, fields) = (node.to_owned(), Vec::new());
    let expectation = Expectation { node, what, within, no_earlier, fields };
    Ok(if never { StepKind::Never(expectation) } else { StepKind::Expect(expectation) })
}

fn order(words: &[&str]) -> Result<Order, String> {
    Ok(match words {
        ["answers"] => Order::Answer,
        ["asks", target] => Order::Options { target: (*target).to_owned() },
        ["calls", target, how @ ..] => {
            Order::Call { target: (*target).to_owned(), options: call_options(how)? }
        }
        ["cancels"] => Order::Cancel,
        ["deregisters"] => Order::Deregister,
        ["deregisters", "everything"] => Order::DeregisterAll,
        ["fetches", _, "registrations"] => Order::Fetch,
        ["hangs", "up"] => Order::HangUp,
        ["hangs", "up", "on", whom] => about(whom, Order::HangUp),
        ["holds" | "resumes" | "adds" | "drops" | "loses" | "redirects" | "transfers", ..] => {
            return in_call(words);
        }
        ["re-registers"] => Order::Reregister,
        ["publishes", status] => Order::Publish { status: (*status).to_owned(), expires: None },
        ["publishes", status, "for", time @ ..] => {
            let expires = Some(duration(&time.concat())?);
            Order::Publish { status: (*status).to_owned(), expires }
        }
        ["refreshes", _, "publication"] => Order::KeepPublication { keep: true },
        ["withdraws", _, "publication"] => Order::KeepPublication { keep: false },
        ["registers"] => Order::Register { expires: None },
        ["registers", "for", time @ ..] => {
            Order::Register { expires: Some(duration(&time.concat())?) }
        }
        ["rejects", "with", word] => {
            let status = word.parse().ok().filter(|status| (300..700).contains(status));
            let fault = || format!("`{word}` is no status to reject with: 300 to 699");
            Order::Reject { status: status.ok_or_else(fault)? }
        }
        ["rings"] => Order::Ring,
        ["subscribes"] => Order::Subscribe,
        ["subscribes", "to", event, "of", target] => {
            Order::Watch { target: (*target).to_owned(), event: (*event).to_owned() }
        }
        ["sends", "dtmf", digits, "by", how] => {
            let usual = |digit: char| digit.is_ascii_digit() || "*#ABCD".contains(digit);
            if digits.is_empty() || !digits.chars().all(usual) {
                return Err(format!("`{digits}` is no digits: 0 to 9, *, #, A to D"));
            }
            Order::Dtmf { digits: (*digits).to_owned(), by: dtmf(how)? }
        }
        ["unsubscribes", "from", event, "of", target] => {
            Order::Unwatch { target: (*target).to_owned(), event: (*event).to_owned() }
        }
        ["sends", "message", text, "to", target] => {
            Order::Message { target: (*target).to_owned(), text: (*text).to_owned() }
        }
        ["sends", "sms", ..] | ["fills" | "frees", _, "sms", "memory"] => {
            return about_sms(words);
        }
        ["sends", "request", method, "to", target] => Order::Request {
            method: (*method).to_owned(),
            target: (*target).to_owned(),
            changes: Vec::new(),
        },
        [verb, ..] if !VERBS.contains(verb) => {
            return Err(match nearest(verb, VERBS) {
                Some(near) => format!("unknown verb `{verb}`; did you mean `{near}`?"),
                None => format!("unknown verb `{verb}`"),
            });
        }
        _ => return Err(format!("`{}` is not understood", words.join(" "))),
    })
}

/// What a user does with short messages.
fn about_sms(words: &[&str]) -> Result<Order, String> {
    Ok(match words {
        ["sends", "sms", text, "to", target, how @ ..] => {
            let status_report = match how {
                [] => false,
                ["with", "status", "report"] => true,
                _ => return Err(not_known(how, "with status report")),
            };
            let (target, text) = ((*target).to_owned(), (*text).to_owned());
            Order::Sms { target, text, status_report }
        }
        ["fills", ..] => Order::SmsMemory { full: true },
        ["frees", ..] => Order::SmsMemory { full: false },
        _ => return Err(format!("`{}` is not understood", words.join(" "))),
    })
}

fn about(whom: &str, order: Order) -> Order {
    Order::About { whom: whom.to_owned(), order: Box::new(order) }
}

/// What changes a call that is up, or ends it elsewhere.
fn in_call(words: &[&str]) -> Result<Order, String> {
    let hold = |verb: &str, by_update| Order::Hold { on: verb == "holds", by_update };
    Ok(match words {
        [verb @ ("holds" | "resumes")] => hold(verb, false),
        [verb @ ("holds" | "resumes"), "by", "UPDATE"] => hold(verb, true),
        [verb @ ("holds" | "resumes"), whom] => about(whom, hold(verb, false)),
        [verb @ ("holds" | "resumes"), whom, "by", "UPDATE"] => about(whom, hold(verb, true)),
        ["adds", "video"] => Order::Video { on: true },
        ["drops", "video"] => Order::Video { on: false },
        ["loses", _, "bearer"] => Order::LoseBearer,
        ["redirects", "to", target] => Order::Redirect { target: (*target).to_owned() },
        ["transfers", whom, "to", target, how @ ..] => {
            let (mut attended, mut outside, mut quiet) = (false, false, false);
            let mut rest = how;
            while !rest.is_empty() {
                rest = match rest {
                    ["attended", tail @ ..] => {
                        attended = true;
                        tail
                    }
                    ["out", "of", "dialog", tail @ ..] => {
                        outside = true;
                        tail
                    }
                    ["without", "subscription", tail @ ..] => {
                        quiet = true;
                        tail
                    }
                    _ => {
                        return Err(not_known(
                            rest,
                            "attended, out of dialog, without subscription",
                        ));
                    }
                };
            }
            let target = (*target).to_owned();
            about(whom, Order::Transfer { target, attended, outside, quiet })
        }
        [verb @ ("adds" | "drops"), ..] => {
            return Err(format!("write `{verb} video`, not `{}`", words.join(" ")));
        }
        ["loses", ..] => return Err("write `loses her bearer`".to_owned()),
        ["redirects", ..] => return Err("write e.g. `redirects to carol`".to_owned()),
        ["transfers", ..] => return Err("write e.g. `transfers bob to carol`".to_owned()),
        _ => return Err(format!("`{}` is not understood", words.join(" "))),
    })
}

fn not_known(words: &[&str], known: &str) -> String {
    let words = words.join(" ");
    match nearest(&words, known.split(", ")) {
        Some(near) => format!("`{words}` is not understood here; did you mean `{near}`?"),
        None => format!("`{words}` is not understood here; there is: {known}"),
    }
}

/// How a call is made: `with video`, `without offer`, `without preconditions`.
fn call_options(words: &[&str]) -> Result<CallOptions, String> {
    let mut options = CallOptions::default();
    for pair in words.chunks(2) {
        match pair {
            ["with", "video"] => options.video = true,
            ["with", "preconditions"] => options.preconditions = Some(true),
            ["without", "offer"] => options.offerless = true,
            ["without", "preconditions"] => options.preconditions = Some(false),
            _ => {
                let known = "with video, without offer, without preconditions";
                return Err(not_known(pair, known));
            }
        }
    }
    Ok(options)
}

fn dtmf(word: &str) -> Result<Dtmf, String> {
    const KNOWN: [(&str, Dtmf); 3] =
        [("info", Dtmf::Info), ("package", Dtmf::Package), ("rtp", Dtmf::Rtp)];
    let found = KNOWN.iter().find(|(name, _)| *name == word).map(|(_, by)| *by);
    found.ok_or_else(|| match nearest(word, KNOWN.iter().map(|(name, _)| *name)) {
        Some(near) => format!("digits do not travel by `{word}`; did you mean `{near}`?"),
        None => format!("digits do not travel by `{word}`: info, package or rtp"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_read() {
        assert!(matches!(
            read("alice registers for 3600s"),
            Ok(StepKind::Command { order: Order::Register { expires: Some(_) }, .. })
        ));
        assert!(matches!(read("wait 600000s"), Ok(StepKind::Wait(_))));
        let Ok(StepKind::Expect(seen)) = read("p1 sends 200 for REGISTER to alice within 2s")
        else {
            panic!("expectation")
        };
        assert_eq!(seen.within, Duration::from_secs(2));
        assert_eq!(
            seen.what,
            Seen::Message {
                received: false,
                label: "200".into(),
                answers: Some("REGISTER".into()),
                peer: Some("alice".into())
            }
        );
        assert!(matches!(read("i1 sends no REGISTER within 1s"), Ok(StepKind::Never(_))));
        assert!(matches!(
            read("alice sends message \"hello there\" to bob"),
            Ok(StepKind::Command { order: Order::Message { .. }, .. })
        ));
        for (sentence, wanted) in [
            ("alice holds", Order::Hold { on: true, by_update: false }),
            ("alice resumes by UPDATE", Order::Hold { on: false, by_update: true }),
            ("alice hangs up on bob", about("bob", Order::HangUp)),
            ("alice adds video", Order::Video { on: true }),
            ("alice loses her bearer", Order::LoseBearer),
            ("bob redirects to carol", Order::Redirect { target: "carol".into() }),
            ("alice sends dtmf \"12#\" by info", {
                Order::Dtmf { digits: "12#".into(), by: Dtmf::Info }
            }),
            ("alice transfers bob to carol attended out of dialog", {
                let target = "carol".into();
                let (attended, outside, quiet) = (true, true, false);
                about("bob", Order::Transfer { target, attended, outside, quiet })
            }),
            ("alice calls bob with video without offer", {
                let options = CallOptions { video: true, offerless: true, preconditions: None };
                Order::Call { target: "bob".into(), options }
            }),
        ] {
            let Ok(StepKind::Command { order, .. }) = read(sentence) else { panic!("{sentence}") };
            assert_eq!(order, wanted);
        }
        assert!(matches!(read("s1 decides TS 24.229 5.4.1.2.2"), Ok(StepKind::Expect(_))));
        assert!(matches!(read("hss sends RTR within 1s"), Ok(StepKind::Expect(_))));
        for (sentence, order) in [
            ("operator deregisters alice with probation", "dereg alice --reason probation"),
            ("operator re-authenticates alice within 1 min", "reauth alice --within 60s"),
            ("operator orders \"hss silent --to MAR\"", "hss silent --to MAR"),
            ("hss sends RTR for alice with permanent termination", "rtr alice --reason permanent"),
            ("hss sends PPR for alice", "ppr alice"),
            ("p1 drains", "drain p1"),
            ("as1 calls bob for alice", "call as1 bob --for alice"),
            ("as1 calls bob for itself", "call as1 bob"),
            ("as1 sends sms \"good day\" to bob for alice", "sms as1 bob good day --for alice"),
            ("as1 sends message \"good day\" to bob for itself", "message as1 bob good day"),
        ] {
            let Ok(StepKind::Operate(found)) = read(sentence) else { panic!("{sentence}") };
            assert_eq!(found.to_string(), order);
        }
    }

    #[test]
    fn times_have_a_least_and_a_most() {
        for (sentence, least, most) in [
            ("alice sends REGISTER between 50s and 70s", 50, 70),
            ("alice sends REGISTER to p1 no earlier than 30 s", 30, 40),
            ("alice sends REGISTER no earlier than 30s within 2 min", 30, 120),
        ] {
            let Ok(StepKind::Expect(seen)) = read(sentence) else { panic!("{sentence}") };
            assert_eq!(seen.no_earlier, Some(Duration::from_secs(least)), "{sentence}");
            assert_eq!(seen.within, Duration::from_secs(most), "{sentence}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said_with_the_nearest_word() {
        assert_eq!(
            read("alice regsters").expect_err("wrong"),
            "unknown verb `regsters`; did you mean `registers`?"
        );
        assert!(read("alice receives 200 at once").is_err());
        assert!(read("alice receives 200 within 2").expect_err("unit").contains("unit"));
        assert!(read("bob rejects with 200").is_err());
        for (sentence, hint) in [
            ("alice hods", "`holds`"),
            ("alice sends dtmf \"5\" by inof", "did you mean `info`"),
            ("alice sends dtmf \"x\" by info", "no digits"),
            ("alice calls bob with vidoe", "with video"),
            ("alice transfers bob", "transfers bob to carol"),
            ("alice transfers bob to carol atended", "attended"),
            ("alice adds vdeo", "adds video"),
            ("alice sends REGISTER between 50s", "between 50s and 70s"),
            ("alice sends REGISTER between 70s and 50s", "no time"),
            ("alice sends no REGISTER no earlier than 5s", "`within` only"),
        ] {
            let fault = read(sentence).expect_err(sentence);
            assert!(fault.contains(hint), "{sentence}: {fault}");
        }
    }
}
