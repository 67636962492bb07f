//! Words that a scenario looks for and that are probably misspelt: a method, a status, a Diameter
//! command, a state. What is far from every known word passes, since a scenario may invent methods
//! and a node may have states of its own.

use cscf_core::config::{Node, Position, Problems, nearest};
use cscf_core::fault::{COMMANDS, METHODS};

use super::{Order, Scenario, Seen, Step, StepKind};

/// The states of a UE; more words may stand behind them.
pub(super) const STATES: [&str; 63] = [
    "call ended",
    "call established",
    "call failed",
    "call held",
    "call incoming",
    "call progress",
    "call redirected",
    "call resumed",
    "call ringing",
    "change refused",
    "deregistered",
    "deregistered by network",
    "dtmf received",
    "dtmf sent",
    "early media not played",
    "early media played",
    "emergency call unanswered",
    "emergency registration failed",
    "event active",
    "event pending",
    "event terminated",
    "flow failed",
    "flow kept alive",
    "held by peer",
    "info answered",
    "info not sent",
    "info received",
    "message delivered",
    "message failed",
    "message received",
    "no call",
    "no deregistration",
    "no publication",
    "no subscription",
    "notified active",
    "options answered",
    "publication failed",
    "publication removed",
    "published",
    "re-registered",
    "referred",
    "registered",
    "registration expired",
    "registration failed",
    "registrations",
    "request answered",
    "resumed by peer",
    "sms accepted",
    "sms delivered",
    "sms failed",
    "sms memory full",
    "sms memory told",
    "sms pending",
    "sms received",
    "sms rejected",
    "sms report failed",
    "sms submitted",
    "sms unanswered",
    "sms undelivered",
    "subscribed",
    "subscription failed",
    "video added",
    "video dropped",
];

/// A text; says so where it is a list or a mapping.
pub(super) fn text(node: &Node, problems: &mut Problems) -> String {
    match node.text() {
        Some(text) => text.to_owned(),
        None => {
            problems.push(node.at, format!("here must be a text, not {}", node.kind()), None);
            String::new()
        }
    }
}

/// Says of each such word where it stands and which was meant.
pub(super) fn check(scenario: &Scenario, problems: &mut Problems) {
    let steps = scenario.all_steps();
    let invented: Vec<&str> = steps.iter().filter_map(|step| invented(step)).collect();
    let ues = scenario.ues();
    for step in steps {
        let (StepKind::Expect(seen) | StepKind::Never(seen)) = &step.kind else { continue };
        match &seen.what {
            Seen::Message { label, answers, .. } => {
                let words = std::iter::once(label).chain(answers);
                for word in words.filter(|word| !invented.contains(&word.as_str())) {
                    check_label(step, word, problems);
                }
            }
            Seen::State(words) if ues.contains(&seen.node) => check_state(step, words, problems),
            Seen::Diagnosis | Seen::Note { .. } | Seen::State(_) => {}
        }
    }
}

/// The method of a request that the scenario writes itself.
fn invented(step: &Step) -> Option<&str> {
    match &step.kind {
        StepKind::Command { order: Order::Request { method, .. }, .. } => Some(method),
        _ => None,
    }
}

fn check_label(step: &Step, word: &str, problems: &mut Problems) {
    let known = || METHODS.iter().chain(&COMMANDS).copied();
    if known().any(|it| it == word) {
        return;
    }
    if word.starts_with(|letter: char| letter.is_ascii_digit()) {
        if !word.parse().is_ok_and(|status: u16| (100..700).contains(&status)) {
            let text = format!("`{word}` is no status of a response: 100 to 699");
            problems.push(at_word(step, word), text, None);
        }
        return;
    }
    // Three letters are near too many others.
    let candidates = known().filter(|it| it.len() == word.len() || it.len() > 3);
    if let Some(near) = nearest(word, candidates) {
        let text = format!("`{word}` is no method and no Diameter command");
        problems.push(at_word(step, word), text, Some(format!("did you mean `{near}`?")));
    }
}

fn check_state(step: &Step, words: &str, problems: &mut Problems) {
    let begins = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    if STATES.iter().any(|state| begins(words, state) || begins(state, words)) {
        return;
    }
    let candidates = || STATES.iter().copied().filter(|state| is_misspelt(words, state));
    if let Some(near) = nearest(words, candidates()).or_else(|| candidates().next()) {
        let text = format!("`{words}` is no state of a UE");
        problems.push(at_word(step, words), text, Some(format!("did you mean `{near}`?")));
    }
}

/// Whether words begin as a state does, but for one word that is nearly the state's.
fn is_misspelt(words: &str, state: &str) -> bool {
    let mut wrong = 0;
    let mut own = words.split(' ');
    for word in state.split(' ') {
        match own.next() {
            Some(same) if same == word => {}
            Some(other) if nearest(other, [word]).is_some() => wrong += 1,
            _ => return false,
        }
    }
    wrong == 1
}

/// Where a word of a step stands; the whole step where that is not known.
pub(crate) fn at_word(step: &Step, word: &str) -> Position {
    within(step.at, &step.text, word)
}

/// Where a word of a text stands; the whole text where it is not written plainly.
pub(super) fn within(at: Position, text: &str, word: &str) -> Position {
    // Quotation marks and escapes make the text shorter than what is written.
    if at.end.saturating_sub(at.start) != text.len() || text.contains('\n') || word.is_empty() {
        return at;
    }
    let is_edge = |letter: Option<char>| letter.is_none_or(char::is_whitespace);
    let mut hits = text.match_indices(word).filter(|(found, _)| {
        let before = text.get(..*found).and_then(|part| part.chars().next_back());
        let after = text.get(found + word.len()..).and_then(|part| part.chars().next());
        is_edge(before) && is_edge(after)
    });
    let Some((found, _)) = hits.next() else { return at };
    let letters = text.get(..found).unwrap_or_default().chars().count();
    let start = at.start + found;
    Position {
        column: at.column.saturating_add(u32::try_from(letters).unwrap_or_default()),
        start,
        end: start + word.len(),
        ..at
    }
}

/// The first word between backquotes in an error text: the one it is about.
pub(super) fn quoted(fault: &str) -> &str {
    fault.split('`').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::script::read_scenario;

    fn helps(steps: &str) -> Vec<String> {
        let source = format!("scenario: x\nsteps:\n{steps}");
        match read_scenario(&source, "ims.example") {
            Ok(_) => Vec::new(),
            Err(problems) => problems.0.into_iter().map(|it| it.help.unwrap_or(it.text)).collect(),
        }
    }

    #[test]
    fn words_near_to_known_ones_are_misspelt_and_others_are_not() {
        for (step, help) in [
            ("p1 receives INVTE", "did you mean `INVITE`?"),
            ("p1 receives invite", "did you mean `INVITE`?"),
            ("p1 sends 200 for REGSTER", "did you mean `REGISTER`?"),
            ("p1 sends 99", "`99` is no status of a response: 100 to 699"),
            ("hss sends MMA", "did you mean `MAA`?"),
        ] {
            assert_eq!(helps(&format!("  - {step}\n")), [help], "{step}");
        }
        let own = "  - alice registers\n  - alice is call estabished\n";
        assert_eq!(helps(own), ["did you mean `call established`?"]);
        for fine in [
            "p1 receives FOO",
            "p1 sends 699",
            "alice is call failed 486",
            "alice is call",
            "as1 is silent INVITE",
        ] {
            assert_eq!(helps(&format!("  - {fine}\n")), Vec::<String>::new(), "{fine}");
        }
        let invented = "  - alice sends request INVITES to bob\n  - p1 receives INVITES\n";
        assert_eq!(helps(invented), Vec::<String>::new());
    }

    #[test]
    fn a_word_of_a_plain_step_has_a_place_of_its_own() {
        let source = "scenario: x\nsteps:\n  - p1 receives INVTE from alice\n";
        let problems = read_scenario(source, "ims.example").expect_err("misspelt");
        let at = problems.0[0].at;
        assert_eq!((at.line, at.column), (3, 17));
        assert_eq!(source.get(at.start..at.end), Some("INVTE"));
    }
}
