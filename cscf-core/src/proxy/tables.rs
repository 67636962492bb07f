//! The table of the response context in `docs/transactions.md`, executed row by row.

use super::{BranchNumber, ContextAction, ContextSettings, ResponseContext, TIMER_C};
use crate::time::Instant;
use crate::transaction::testing::{request, table};

const START: Instant = Instant::from_secs(1000);

fn letter(number: BranchNumber) -> char {
    char::from(b'A' + u8::try_from(number.0).expect("few branches"))
}

fn number(name: &str) -> BranchNumber {
    BranchNumber(u32::from(name.as_bytes()[0] - b'A'))
}

/// Lets an event happen; the actions as the table writes them.
fn happen(context: &mut ResponseContext, method: &str, event: &str) -> Vec<String> {
    let via = "SIP/2.0/UDP p1.ims.example;branch=z9hG4bK2";
    let response = |status: &str| request(method, via).reply(status.parse().expect("a status"));
    let mut out = Vec::new();
    let mut told = Vec::new();
    match event.split_once([':', ' ']) {
        Some(("timer", "C")) => context.handle_timeout(START + TIMER_C, &mut out),
        Some(("reply", status)) => context.reply(response(status), &mut out),
        Some((branch, status)) => {
            let response = response(status);
            context.on_response(START, number(branch), response.status, &mut out);
            context.pass_up(number(branch), response, &mut out);
        }
        None if event == "cancel" => context.cancel(None, &mut out),
        None => {
            if context.open_branch(START).is_err() {
                told.push("refused".to_owned());
            }
        }
    }
    if event != "open" && event.len() != 1 {
        context.settle(&mut out);
    }
    let mut after = Vec::new();
    for action in out {
        match action {
            ContextAction::Cancel { branch, .. } => told.push(format!("CANCEL {}", letter(branch))),
            ContextAction::NoAnswer => told.push("no answer".to_owned()),
            ContextAction::Note(..) => {}
            ContextAction::TimedOut(branch) => {
                told.push(format!("{} timed out", letter(branch)));
                // The engine makes the 408, which the role hands up.
                context.pass_up(branch, response("408"), &mut after);
                context.settle(&mut after);
            }
            ContextAction::Upstream(response) => told.push(format!("up {}", response.status)),
        }
    }
    for action in after {
        if let ContextAction::Upstream(response) = action {
            told.push(format!("up {}", response.status));
        }
    }
    told
}

fn open_branches(context: &ResponseContext) -> String {
    if context.is_over() {
        return "over".to_owned();
    }
    let open: Vec<String> =
        context.open_branches().map(|branch| letter(branch).to_string()).collect();
    if open.is_empty() { "-".to_owned() } else { open.join(" ") }
}

// T-PRX-030, T-PRX-060, T-PRX-070
#[test]
fn the_response_context_is_as_documented() {
    for row in table("Response context") {
        let [method, before, event, actions, after, _] = row.as_slice() else {
            panic!("six columns: {row:?}");
        };
        let via = "SIP/2.0/UDP p1.ims.example;branch=z9hG4bK2";
        let settings = ContextSettings::default();
        let mut context = ResponseContext::new(&request(method, via), settings);
        let mut words = before.split(' ').filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if matches!(word, "reply" | "timer") {
                let rest = words.next().expect("the rest of the event");
                happen(&mut context, method, &format!("{word} {rest}"));
            } else {
                happen(&mut context, method, word);
            }
        }

        let told = happen(&mut context, method, event);

        let told = if told.is_empty() { "-".to_owned() } else { told.join(", ") };
        assert_eq!(told, *actions, "{row:?}");
        assert_eq!(open_branches(&context), *after, "{row:?}");
    }
}
