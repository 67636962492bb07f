//! What a device is to do, in words: for a program one list, for a human one request at a time.

use crate::run::Instance;
use crate::script::{DUT, Order, Scenario, StepKind};
use crate::ue::{CallOptions, Dtmf};

/// What an order asks of a device, e.g. `call tel:+15550100002`.
pub(super) fn words(order: &Order, instance: &Instance) -> String {
    let seconds = |expires: &cscf_core::time::Duration| format!(" for {}s", expires.as_secs());
    match order {
        Order::About { order, .. } | Order::Dressed { order, .. } => words(order, instance),
        Order::Answer => "answer".to_owned(),
        Order::Call { target, options } => {
            format!("call {}{}", instance.target(target), how(*options))
        }
        Order::Cancel => "cancel".to_owned(),
        Order::Deregister => "deregister".to_owned(),
        Order::DeregisterAll => "deregister everything".to_owned(),
        Order::Dtmf { digits, by } => {
            let by = match by {
                Dtmf::Info => "INFO",
                Dtmf::Package => "INFO of the package infoDtmf",
                Dtmf::Rtp => "RTP",
            };
            format!("send dtmf {digits} by {by}")
        }
        Order::Fetch => "fetch the registrations".to_owned(),
        Order::HangUp => "hang up".to_owned(),
        Order::Hold { on: true, .. } => "hold".to_owned(),
        Order::Hold { on: false, .. } => "resume".to_owned(),
        Order::KeepPublication { keep: true } => "refresh the publication".to_owned(),
        Order::KeepPublication { keep: false } => "withdraw the publication".to_owned(),
        Order::LoseBearer => "lose the bearer".to_owned(),
        Order::Message { target, text } => {
            format!("send \"{text}\" to {}", instance.target(target))
        }
        Order::Options { target } => format!("ask {}", instance.target(target)),
        Order::Publish { status, expires } => {
            format!("publish {status}{}", expires.as_ref().map(seconds).unwrap_or_default())
        }
        Order::Redirect { target } => format!("redirect to {}", instance.target(target)),
        Order::Register { expires } => {
            format!("register{}", expires.as_ref().map(seconds).unwrap_or_default())
        }
        Order::Reject { status } => format!("reject with {status}"),
        Order::Reregister => "re-register".to_owned(),
        Order::Request { method, target, .. } => {
            format!("send request {method} to {}", instance.target(target))
        }
        Order::Ring => "ring".to_owned(),
        Order::Sms { target, text, status_report } => {
            let report = if *status_report { " with status report" } else { "" };
            format!("send sms \"{text}\" to {}{report}", instance.target(target))
        }
        Order::SmsMemory { full: true } => "fill the sms memory".to_owned(),
        Order::SmsMemory { full: false } => "free the sms memory".to_owned(),
        Order::Subscribe => "subscribe".to_owned(),
        Order::Transfer { target, attended, .. } => {
            let attended = if *attended { " attended" } else { "" };
            format!("transfer to {}{attended}", instance.target(target))
        }
        Order::Unwatch { target, event } => {
            format!("unsubscribe from {event} of {}", instance.target(target))
        }
        Order::Video { on: true } => "add video".to_owned(),
        Order::Video { on: false } => "drop video".to_owned(),
        Order::Watch { target, event } => {
            format!("subscribe to {event} of {}", instance.target(target))
        }
    }
}

fn how(options: CallOptions) -> String {
    let mut out = String::new();
    if options.video {
        out.push_str(" with video");
    }
    if options.offerless {
        out.push_str(" without offer");
    }
    match options.preconditions {
        Some(true) => out.push_str(" with preconditions"),
        Some(false) => out.push_str(" without preconditions"),
        None => {}
    }
    out
}

/// All that the device is to do in a case, e.g. `register; call tel:+15550100002; wait 2s; hang
/// up`.
pub(super) fn list(scenario: &Scenario, instance: &Instance) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut waits = Vec::new();
    for step in scenario.all_steps() {
        match &step.kind {
            StepKind::Command { ue, order } if ue == DUT => {
                out.append(&mut waits);
                out.push(words(order, instance));
            }
            StepKind::Wait(time) if !out.is_empty() => waits.push(format!("wait {time:?}")),
            _ => {}
        }
    }
    out.join("; ")
}

/// Whom the device calls or writes to first.
pub(super) fn target(scenario: &Scenario, instance: &Instance) -> String {
    let of = |order: &Order| match order {
        Order::Call { target, .. }
        | Order::Message { target, .. }
        | Order::Options { target }
        | Order::Request { target, .. }
        | Order::Sms { target, .. }
        | Order::Watch { target, .. } => Some(instance.target(target)),
        _ => None,
    };
    let steps = scenario.all_steps();
    let mut targets = steps.iter().filter_map(|step| match &step.kind {
        StepKind::Command { ue, order } if ue == DUT => of(order),
        _ => None,
    });
    targets.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cscf_core::config::Lab;

    use super::*;
    use crate::run::read_checked;

    #[test]
    fn orders_are_told_as_a_person_reads_them() {
        let lab = Lab::default_lab();
        let source = "scenario: x\ntest: {id: CT-18.1, clause: 34.229-1 18.1}\nsteps:\n  \
                      - dut sends sms \"Hello You\" to bob with status report\n  \
                      - dut sends dtmf \"12#\" by info\n  \
                      - dut subscribes to presence of bob\n  - dut sends MESSAGE\n";
        let scenario = read_checked("x", "x.yaml", source, &lab).expect("reads");
        let instance = Instance::new(&lab, &scenario, 1, 0).expect("fits");
        let bob = instance.target("bob");
        assert_eq!(
            list(&scenario, &instance),
            format!(
                "send sms \"Hello You\" to {bob} with status report; send dtmf 12# by INFO; \
                 subscribe to presence of {bob}"
            )
        );
        assert_eq!(target(&scenario, &instance), bob);
    }
}
