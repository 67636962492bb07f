//! The UEs under `parties`: who they are, what they can, what they do wrong.

use cscf_core::config::{
    Node, Position, Problems, Reader, Value, duration, nearest, read_names, read_subscriber,
};
use cscf_core::dialog::Refresher;
use cscf_core::time::Duration;
use cscf_core::transport::Transport;

use super::Party;
use super::parse::on_off;
use crate::ue::{
    CodecSet, EmergencyTimers, Gruu, KeepAlive, Mistakes, Protection, Refers, Resources, Robot,
};

/// Reads all parties of a scenario.
pub(super) fn read_all(node: &Node, domain: &str, problems: &mut Problems) -> Vec<Party> {
    let Value::Map(entries) = &node.value else {
        let text = format!("parties must be a mapping by name, here is {}", node.kind());
        problems.push(node.at, text, None);
        return Vec::new();
    };
    entries.iter().map(|entry| party(&entry.key, &entry.node, domain, problems)).collect()
}

fn party(name: &str, node: &Node, domain: &str, problems: &mut Problems) -> Party {
    let mut reader = Reader::new(node, "a party", problems);
    let subscriber = reader.optional("subscriber");
    let subscriber = subscriber.and_then(|node| read_subscriber(name, node, domain, problems));
    let some_switch = |text: &str| on_off(text).map(Some);
    let some_time = |text: &str| duration(text).map(Some);
    let emergency = emergency(&mut reader, problems);
    let (security, transport) = protection(&mut reader, problems);
    let party = Party {
        emergency,
        name: name.to_owned(),
        subscriber,
        of: reader.optional("of").and_then(|node| read_names(node, problems).pop()),
        instance: reader.or("instance", None, problems, some_text),
        reg_id: reader.or("reg_id", None, problems, |text| match text.parse() {
            Ok(number @ 1..) => Ok(Some(number)),
            _ => Err(format!("`{text}` is no number of a flow: 1, 2, …")),
        }),
        keep_alive: reader.or("keep_alive", None, problems, |text| keep_alive(text).map(Some)),
        impu: reader.or("impu", None, problems, some_text),
        pcscfs: reader
            .optional("p_cscfs")
            .map(|node| read_names(node, problems))
            .unwrap_or_default(),
        gruu: reader.or("gruu", None, problems, |text| gruu(text).map(Some)),
        security,
        retries: reader.or("retries", None, problems, some_switch),
        early_security: reader.or("early_security", None, problems, some_switch),
        sms: reader.or("sms", None, problems, some_switch),
        mistakes: reader
            .optional("mistakes")
            .map(|node| mistakes(node, problems))
            .unwrap_or_default(),
        preconditions: reader.or("preconditions", None, problems, some_switch),
        reliable: reader.or("reliable_provisionals", None, problems, some_switch),
        transport,
        reg_event: reader.or("reg_event", None, problems, some_switch),
        resources: reader.or("resources", None, problems, |text| resources(text).map(Some)),
        codecs: reader.or("codecs", None, problems, |text| codecs(text).map(Some)),
        all_codecs: reader.or("answers_all_codecs", None, problems, some_switch),
        video: reader.or("video", None, problems, some_switch),
        session_expires: reader.or("session_expires", None, problems, some_time),
        min_se: reader.or("min_se", None, problems, some_time),
        refresher: reader.or("refresher", None, problems, |text| match text {
            "uac" => Ok(Some(Refresher::Uac)),
            "uas" => Ok(Some(Refresher::Uas)),
            _ => Err(format!("`{text}` is neither uac nor uas")),
        }),
        info_packages: reader
            .optional("info_packages")
            .map(|node| names(node, problems))
            .unwrap_or_default(),
        follows_redirects: reader.or("follows_redirects", None, problems, some_switch),
        lowers_offer: reader.or("lowers_offer", None, problems, some_switch),
        refers: reader.or("refers", None, problems, |text| refers(text).map(Some)),
        calls: reader.or("calls", None, problems, |text| match text.parse() {
            Ok(number @ 1..=256) => Ok(Some(number)),
            _ => Err(format!("`{text}` is no number of calls, 1 to 256")),
        }),
        when_called: reader.or("when_called", None, problems, |text| robot(text).map(Some)),
        radio: reader.or("radio", None, problems, some_switch),
        access: reader.or("access", None, problems, some_text),
    };
    reader.finish(problems);
    party
}

/// `on`, `off`, `20s`.
fn keep_alive(text: &str) -> Result<KeepAlive, String> {
    match text {
        "off" | "false" => Ok(KeepAlive::Never),
        "on" | "true" => Ok(KeepAlive::Offered(None)),
        _ => match duration(text) {
            Ok(time) if time >= Duration::from_secs(1) => Ok(KeepAlive::Offered(Some(time))),
            _ => Err(format!("`{text}` is neither on, off nor a time of 1s or more")),
        },
    }
}

/// What it agrees on with the P-CSCF, and by which transport it connects: IPsec protects UDP and
/// TCP, and a UE that agrees on TLS begins with these or with TLS itself.
fn protection(
    reader: &mut Reader<'_>,
    problems: &mut Problems,
) -> (Option<Protection>, Option<Transport>) {
    let node = reader.optional("security");
    let read = node.map(|node| (node.at, agreement(node.text().unwrap_or_default())));
    let security = match read {
        Some((at, Err(fault))) => {
            problems.push(at, fault, None);
            None
        }
        Some((_, Ok(what))) => Some(what),
        None => None,
    };
    let transport = reader.or("transport", None, problems, |text| {
        let known = text.parse().ok().filter(|_| text.bytes().all(|it| it.is_ascii_lowercase()));
        let fault = || format!("`{text}` is none of udp, tcp, tls, ws and wss");
        known.map(Some).ok_or_else(fault)
    });
    let at = node.map(|node| node.at);
    let does_not_go = match (security, transport) {
        (Some(Protection::Ipsec), Some(by)) if !matches!(by, Transport::Udp | Transport::Tcp) => {
            Some((by, "`security: on` is IPsec, and this UE"))
        }
        (Some(Protection::Tls), Some(by @ (Transport::Ws | Transport::Wss))) => {
            Some((by, "`security: tls` is SIP over TLS, and this UE"))
        }
        _ => None,
    };
    if let (Some(at), Some((by, words))) = (at, does_not_go) {
        let by = by.param_name();
        let help = format!("leave out `security`, or `transport: {by}`");
        problems.push(at, format!("{words} connects by {by}"), Some(help));
    }
    (security, transport)
}

/// `on`, `off`, `tls`.
fn agreement(text: &str) -> Result<Protection, String> {
    match text {
        "tls" => Ok(Protection::Tls),
        _ => match on_off(text) {
            Ok(true) => Ok(Protection::Ipsec),
            Ok(false) => Ok(Protection::Off),
            Err(_) => Err(format!("`{text}` is neither on, off nor tls")),
        },
    }
}

fn gruu(text: &str) -> Result<Gruu, String> {
    match text {
        "off" | "false" => Ok(Gruu::Off),
        "on" | "true" | "public" => Ok(Gruu::Public),
        "temporary" => Ok(Gruu::Temporary),
        _ => Err(format!("`{text}` is neither off, on nor temporary")),
    }
}

fn refers(text: &str) -> Result<Refers, String> {
    match text {
        "accepts" => Ok(Refers::Accepts),
        "declines" => Ok(Refers::Declines),
        "forbids" => Ok(Refers::Forbids),
        _ => Err(format!("`{text}` is neither accepts, declines nor forbids")),
    }
}

/// Whether the party registers for emergency, and its timers (TS 24.229 §7.8).
fn emergency(reader: &mut Reader<'_>, problems: &mut Problems) -> Option<EmergencyTimers> {
    let on = reader.or("emergency", false, problems, on_off);
    let default = EmergencyTimers::default();
    let within = |text: &str, [least, most]: [Duration; 2]| match duration(text)? {
        time if (least..=most).contains(&time) => Ok(time),
        _ => Err(format!("`{text}` is not from {} to {} s", least.as_secs(), most.as_secs())),
    };
    let timers = EmergencyTimers {
        registration: reader.or("emerg_reg", default.registration, problems, |text| {
            within(text, EmergencyTimers::REGISTRATION)
        }),
        request: reader.or("emerg_request", default.request, problems, |text| {
            within(text, EmergencyTimers::REQUEST)
        }),
    };
    on.then_some(timers)
}

/// A party of whom nothing is said.
pub(super) fn plain(name: &str) -> Party {
    let nothing = Node { at: Position::default(), value: Value::Map(Vec::new()) };
    party(name, &nothing, "", &mut Problems::default())
}

fn some_text(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}

/// A name or a list of names.
fn names(node: &Node, problems: &mut Problems) -> Vec<String> {
    read_names(node, problems).into_iter().map(|(_, name)| name).collect()
}

fn mistakes(node: &Node, problems: &mut Problems) -> Mistakes {
    let items = match &node.value {
        Value::Seq(items) => items.as_slice(),
        Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(node),
    };
    let mut out = Mistakes::default();
    for item in items {
        let text = item.text().unwrap_or_default();
        if out.make(text) {
            continue;
        }
        let names = Mistakes::NAMED.iter().map(|(name, _)| *name);
        let help = nearest(text, names.clone()).map_or_else(
            || format!("known: {}", names.collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        problems.push(item.at, format!("unknown mistake `{text}`"), Some(help));
    }
    out
}

/// `200ms`, `ready`, `fail after 200ms`.
fn resources(text: &str) -> Result<Resources, String> {
    if text == "ready" {
        return Ok(Resources::Reserved);
    }
    match text.strip_prefix("fail after ") {
        Some(time) => duration(time).map(Resources::Fail),
        None => duration(text)
            .map(Resources::After)
            .map_err(|fault| format!("{fault}; write a time, `ready` or `fail after 200ms`")),
    }
}

fn codecs(text: &str) -> Result<CodecSet, String> {
    let found = CodecSet::NAMED.iter().find(|(name, _)| *name == text);
    let names = || CodecSet::NAMED.iter().map(|(name, _)| *name);
    found.map(|(_, set)| *set).ok_or_else(|| match nearest(text, names()) {
        Some(near) => format!("unknown codecs `{text}`; did you mean `{near}`?"),
        None => {
            let known: Vec<&str> = names().collect();
            format!("unknown codecs `{text}`; known: {}", known.join(", "))
        }
    })
}

/// `waits`, `rings`, `busy`, `echo`, `answers after 2s`, `rejects with 603`.
fn robot(text: &str) -> Result<Robot, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["waits"] => Ok(Robot::None),
        ["rings"] => Ok(Robot::Rings),
        ["busy"] => Ok(Robot::Busy),
        ["echo"] => Ok(Robot::Echo),
        ["answers", "after", time @ ..] => Ok(Robot::Answers { after: duration(&time.concat())? }),
        ["rejects", "with", status] => {
            let status = status.parse().ok().filter(|status| (300..700).contains(status));
            status.map(Robot::Rejects).ok_or("reject with a status from 300 to 699".to_owned())
        }
        _ => Err(format!(
            "`{text}` is not understood: waits, rings, busy, echo, answers after 2s, rejects with 603"
        )),
    }
}
