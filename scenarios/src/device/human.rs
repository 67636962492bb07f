//! What a device is to do, in words: for a program one list, for a human one request at a time.

use crate::script::{DUT, Order, Scenario, StepKind};

use crate::run::Instance;

/// What an order asks of a device, e.g. `call tel:+15550100002`.
pub(super) fn words(order: &Order, instance: &Instance) -> String {
    let seconds = |expires: &cscf_core::time::Duration| format!(" for {}s", expires.as_secs());
    match order {
        Order::About { order, .. } | Order::Dressed { order, .. } => words(order, instance),
        Order::Answer => "answer".to_owned(),
        Order::Call { target, .. } => format!("call {}", instance.target(target)),
        Order::Cancel => "cancel".to_owned(),
        Order::Deregister | Order::DeregisterAll => "deregister".to_owned(),
        Order::HangUp => "hang up".to_owned(),
        Order::Hold { on: true, .. } => "hold".to_owned(),
        Order::Hold { on: false, .. } => "resume".to_owned(),
        Order::Message { target, text } => {
            format!("send \"{text}\" to {}", instance.target(target))
        }
        Order::Register { expires } => {
            format!("register{}", expires.as_ref().map(seconds).unwrap_or_default())
        }
        Order::Reject { status } => format!("reject with {status}"),
        Order::Reregister => "re-register".to_owned(),
        Order::Transfer { target, .. } => format!("transfer to {}", instance.target(target)),
        Order::Video { on: true } => "add video".to_owned(),
        Order::Video { on: false } => "drop video".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
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
        Order::Call { target, .. } | Order::Message { target, .. } => Some(instance.target(target)),
        _ => None,
    };
    let steps = scenario.all_steps();
    let mut targets = steps.iter().filter_map(|step| match &step.kind {
        StepKind::Command { ue, order } if ue == DUT => of(order),
        _ => None,
    });
    targets.next().unwrap_or_default()
}
