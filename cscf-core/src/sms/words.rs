//! What a body says, in words: for ladders, traces, and expectations of scenarios.

use super::data::UserData;
use super::rp::{Rp, RpMessage};
use super::tp::Tpdu;

/// Characters of a text in the short form.
const SHORT_TEXT: usize = 24;

/// A body in its two layers; the upper one where it can be read.
fn read(body: &[u8]) -> Option<(RpMessage, Option<Tpdu>)> {
    let rp = RpMessage::decode(body).ok()?;
    let failed = matches!(rp.what, Rp::Error { .. });
    let tpdu = rp.what.tpdu();
    let tp = tpdu.and_then(|tpdu| Tpdu::decode(tpdu, rp.direction, failed).ok());
    Some((rp, tp))
}

fn data_of(tp: &Tpdu) -> Option<&UserData> {
    match tp {
        Tpdu::Deliver(it) => Some(&it.data),
        Tpdu::Submit(it) => Some(&it.data),
        _ => None,
    }
}

/// A body in a word or two, e.g. `RP-DATA (SMS-SUBMIT "hello")`, `RP-ERROR 22`.
#[must_use]
pub fn short(body: &[u8]) -> String {
    let Some((rp, tp)) = read(body) else { return "no RP message".to_owned() };
    let mut out = rp.what.name().to_owned();
    if let Rp::Error { cause, .. } = rp.what {
        out.push_str(&format!(" {cause}"));
    }
    match (&rp.what, tp) {
        (Rp::Data { .. }, Some(tp)) => {
            let text = data_of(&tp).and_then(UserData::text).map(|text| {
                let cut: String = text.chars().take(SHORT_TEXT).collect();
                let more = if cut.len() < text.len() { "…" } else { "" };
                format!(" \"{}{more}\"", cut.replace(['\r', '\n'], " "))
            });
            out.push_str(&format!(" ({}{})", tp.name(), text.unwrap_or_default()));
        }
        (Rp::Data { .. }, None) => out.push_str(" (unreadable)"),
        _ => {}
    }
    out
}

/// A body in a line, e.g. `RP-DATA mr=1 centre=+15559999 SMS-SUBMIT mr=0 to=+15550100002 "hello"`.
#[must_use]
pub fn long(body: &[u8]) -> String {
    let Some((rp, tp)) = read(body) else {
        let fault = RpMessage::decode(body).err().map(|fault| fault.to_string());
        return format!("no RP message: {}", fault.unwrap_or_default());
    };
    let mut out = format!("{} mr={}", rp.what.name(), rp.reference);
    match &rp.what {
        Rp::Data { centre: Some(centre), .. } => out.push_str(&format!(" centre={centre}")),
        Rp::Error { cause, .. } => out.push_str(&format!(" cause={cause}")),
        _ => {}
    }
    match (tp, rp.what.tpdu()) {
        (Some(tp), _) => out.push_str(&above(&tp)),
        (None, Some(tpdu)) => {
            let failed = matches!(rp.what, Rp::Error { .. });
            if let Err(fault) = Tpdu::decode(tpdu, rp.direction, failed) {
                out.push_str(&format!(" unreadable TPDU: {fault}"));
            }
        }
        (None, None) => {}
    }
    out
}

fn above(tp: &Tpdu) -> String {
    let mut out = format!(" {}", tp.name());
    let failure = |cause: Option<u8>| cause.map(|it| format!(" failure={it:#04x}"));
    out.push_str(&match tp {
        Tpdu::Command => String::new(),
        Tpdu::Deliver(it) => format!(" from={}", it.originator),
        Tpdu::DeliverReport(it) => failure(it.failure).unwrap_or_default(),
        Tpdu::StatusReport(it) => {
            format!(" mr={} to={} status={:#04x}", it.reference, it.recipient, it.status)
        }
        Tpdu::Submit(it) => {
            let report = if it.status_report { " report" } else { "" };
            format!(" mr={} to={}{report}", it.reference, it.destination)
        }
        Tpdu::SubmitReport(it) => failure(it.failure).unwrap_or_default(),
    });
    let Some(data) = data_of(tp) else { return out };
    if let Some(part) = data.part() {
        out.push_str(&format!(" part={}/{}", part.number, part.total));
    }
    match data.text() {
        Some(text) => out.push_str(&format!(" \"{text}\"")),
        None => out.push_str(" octets"),
    }
    out
}

/// One thing a body says, by the name scenarios have for it; `None` where it does not say it.
/// `rp`, `rp_mr`, `rp_cause`, `rp_centre`; `tp`, `tp_mr`, `tp_address`, `tp_failure`, `tp_status`,
/// `sms_text`.
#[must_use]
pub fn field(body: &[u8], name: &str) -> Option<String> {
    let (rp, tp) = read(body)?;
    match name {
        "rp" => return Some(rp.what.name().to_owned()),
        "rp_mr" => return Some(rp.reference.to_string()),
        "rp_cause" => match rp.what {
            Rp::Error { cause, .. } => return Some(cause.to_string()),
            _ => return None,
        },
        "rp_centre" => match rp.what {
            Rp::Data { centre, .. } => return centre.map(|it| it.to_string()),
            _ => return None,
        },
        _ => {}
    }
    let tp = tp?;
    match (name, &tp) {
        ("tp", tp) => Some(tp.name().to_owned()),
        ("tp_mr", Tpdu::Submit(it)) => Some(it.reference.to_string()),
        ("tp_mr", Tpdu::StatusReport(it)) => Some(it.reference.to_string()),
        ("tp_address", Tpdu::Submit(it)) => Some(it.destination.to_string()),
        ("tp_address", Tpdu::Deliver(it)) => Some(it.originator.to_string()),
        ("tp_address", Tpdu::StatusReport(it)) => Some(it.recipient.to_string()),
        ("tp_failure", Tpdu::SubmitReport(it)) => it.failure.map(|it| format!("{it:#04x}")),
        ("tp_failure", Tpdu::DeliverReport(it)) => it.failure.map(|it| format!("{it:#04x}")),
        ("tp_status", Tpdu::StatusReport(it)) => Some(format!("{:#04x}", it.status)),
        ("sms_text", tp) => data_of(tp).and_then(UserData::text).map(str::to_owned),
        _ => None,
    }
}
