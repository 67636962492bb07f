//! Reads the steps of a scenario: sentences with lines under them.

use cscf_core::config::{
    Entry, Node, Position, Problems, Value, headers_below, nearest, read_names, rule_at,
};
use cscf_core::fault::{self, Mistake};
use cscf_core::operator::{self, FaultOrder};

use super::{
    Expectation, FieldExpectation, Matcher, Order, Seen, Step, StepKind, branches, capture,
};
use super::{device, parameter, request, sentence, words};

/// Reads a list of steps.
pub(super) fn read_all(node: &Node, problems: &mut Problems) -> Vec<Step> {
    let Value::Seq(items) = &node.value else {
        problems.push(node.at, format!("steps must be a list, here is {}", node.kind()), None);
        return Vec::new();
    };
    items.iter().filter_map(|item| step(item, problems)).collect()
}

fn step(node: &Node, problems: &mut Problems) -> Option<Step> {
    let (at, text, detail) = match &node.value {
        Value::Scalar(text) => (node.at, text, None),
        Value::Map(entries) => match entries.as_slice() {
            [entry] => (entry.at, &entry.key, Some(&entry.node)),
            [_, second, ..] => {
                let text = format!("a step is one sentence; `{}` is another", second.key);
                let help = "begin it with `- `, or indent it if it belongs to the step above";
                problems.push(second.at, text, Some(help.to_owned()));
                return None;
            }
            [] => {
                problems.push(node.at, "a step without a sentence", None);
                return None;
            }
        },
        Value::Seq(_) => {
            problems.push(node.at, "a step is a sentence, not a list", None);
            return None;
        }
    };
    let mut step = Step {
        at,
        text: text.clone(),
        kind: StepKind::Together(Vec::new()),
        when: false,
        clause: None,
        proves: Vec::new(),
        uses: Vec::new(),
    };
    if text == "together" {
        let nothing = Node { at, value: Value::Map(Vec::new()) };
        step.kind = StepKind::Together(branches::read(detail.unwrap_or(&nothing), problems));
        return Some(step);
    }
    let (when, sentence) = device::strip_when(text);
    step.when = when;
    if let Some(rule) = sentence.strip_prefix(FAULT_BEGINS) {
        if when {
            problems.push(at, NO_CONDITION, None);
        }
        step.kind = fault_step((at, text, rule), detail, problems)?;
        step.uses(at, text);
        for (at, text) in detail.map(texts).unwrap_or_default() {
            step.uses(at, text);
        }
        return Some(step);
    }
    match sentence::read(sentence) {
        Ok(kind) => step.kind = kind,
        Err(fault) => {
            let at = words::within(at, text, words::quoted(&fault));
            problems.push(at, fault, None);
            return None;
        }
    }
    if when && !matches!(step.kind, StepKind::Expect(_)) {
        problems.push(at, NO_CONDITION, None);
    }
    if matches!(step.kind, StepKind::Command { .. } | StepKind::Operate(_)) {
        step.uses(at, text);
    }
    if let Some(detail) = detail {
        details(detail, &mut step, problems);
    }
    Some(step)
}

/// What is said of `when` before a command.
const NO_CONDITION: &str = "only an expectation can be a condition (`when`)";
/// The words that make a fault rule a step.
const FAULT_BEGINS: &str = "from now on ";

/// `from now on RULE`, with its headers below it.
fn fault_step(
    (at, text, rule): (Position, &str, &str),
    detail: Option<&Node>,
    problems: &mut Problems,
) -> Option<StepKind> {
    let offset = text.len() - rule.len();
    let read = match detail {
        None => rule.parse(),
        Some(node) => fault::read(rule, &headers_below(node, problems)?),
    };
    let read = read.map_err(|wrong: Mistake| Mistake { at: wrong.at + offset, ..wrong });
    let (_, rule) = rule_at(at, text, read, problems)?;
    Some(StepKind::Operate(operator::Order::Fault(FaultOrder::Add(Box::new(rule)))))
}

impl StepKind {
    const fn is_about_message(&self) -> bool {
        matches!(self, Self::Expect(Expectation { what: Seen::Message { .. }, .. }))
            || matches!(self, Self::Never(Expectation { what: Seen::Message { .. }, .. }))
    }
}

impl Step {
    /// Remembers which captured values a text uses.
    fn uses(&mut self, at: Position, text: &str) {
        self.uses.extend(capture::names(text).into_iter().map(|name| (at, name)));
    }
}

fn details(node: &Node, step: &mut Step, problems: &mut Problems) {
    let Value::Map(entries) = &node.value else {
        problems.push(node.at, "here must be `header: expectation` lines", None);
        return;
    };
    for entry in entries {
        detail(entry, step, problems);
    }
    if let StepKind::Expect(Expectation { what: Seen::State(_), fields, .. }) = &step.kind
        && let Some(field) = fields.first()
    {
        problems.push(field.at, "a state has no headers; expect a message", None);
    }
}

/// One line under a step.
fn detail(entry: &Entry, step: &mut Step, problems: &mut Problems) {
    if entry.key == "proves" {
        step.proves.extend(read_names(&entry.node, problems));
        return;
    }
    if entry.key == "clause" && step.kind.is_about_message() {
        step.clause = Some(words::text(&entry.node, problems));
        return;
    }
    match &mut step.kind {
        StepKind::Command { order: Order::Request { changes, .. }, .. } => {
            changes.extend(request::change(entry, problems));
        }
        StepKind::Command { order, .. } if entry.key == "with" => {
            let headers = headers_of(&entry.node, problems);
            *order = Order::Dressed { headers, order: Box::new(order.clone()) };
        }
        StepKind::Expect(expectation) => {
            expectation.fields.extend(conditions(entry, &expectation.what, problems));
        }
        StepKind::Never(expectation) => {
            let fields = conditions(entry, &expectation.what, problems);
            if fields.iter().any(|field| field.capture.is_some()) {
                let text = "what must not be seen cannot be captured";
                problems.push(entry.node.at, text, None);
            }
            expectation.fields.extend(fields);
        }
        _ => {
            problems.push(
                entry.at,
                "only an expectation can look at headers; a command takes other ones under `with`",
                None,
            );
            return;
        }
    }
    let conditions = matches!(step.kind, StepKind::Expect(_) | StepKind::Never(_));
    for (at, text) in texts(&entry.node) {
        let condition = capture::split(text).ok().filter(|_| conditions);
        step.uses(at, condition.map_or(text, |(condition, _)| condition));
    }
}

/// All texts of a value.
fn texts(node: &Node) -> Vec<(Position, &str)> {
    match &node.value {
        Value::Scalar(text) => vec![(node.at, text)],
        Value::Seq(items) => items.iter().flat_map(texts).collect(),
        Value::Map(entries) => entries.iter().flat_map(|entry| texts(&entry.node)).collect(),
    }
}

/// Reads the conditions on one header of a message, or one part of a decision: one, or a list of
/// which all must hold.
fn conditions(entry: &Entry, what: &Seen, problems: &mut Problems) -> Vec<FieldExpectation> {
    let items = match &entry.node.value {
        Value::Seq(items) if !items.is_empty() => items.as_slice(),
        _ => std::slice::from_ref(&entry.node),
    };
    items.iter().filter_map(|item| condition((entry, item), what, problems)).collect()
}

/// Reads one condition.
fn condition(
    (entry, node): (&Entry, &Node),
    what: &Seen,
    problems: &mut Problems,
) -> Option<FieldExpectation> {
    let Some(text) = node.text() else {
        let text = format!("a condition is one value or a list of them, here is {}", node.kind());
        problems.push(node.at, text, None);
        return None;
    };
    let named = parameter_of(what, &entry.key).map_err(|fault| (entry.at, fault));
    let read = named.and_then(|(name, parameter)| {
        let at_value = |fault| (node.at, fault);
        let (text, capture) = capture::split(text).map_err(at_value)?;
        let text = if text.is_empty() && capture.is_some() { "present" } else { text };
        let matcher = Matcher::read(text).map_err(at_value)?;
        if capture.is_some() && matches!(matcher, Matcher::Absent | Matcher::Lacks(_)) {
            return Err(at_value(format!("`{text}` finds nothing that could be captured")));
        }
        let (at, value_at) = (entry.at, node.at);
        Ok(FieldExpectation { at, value_at, name, parameter, matcher, capture })
    });
    read.map_err(|(at, fault)| problems.push(at, fault, None)).ok()
}

/// The headers under `with`: values, or `absent`.
fn headers_of(node: &Node, problems: &mut Problems) -> Vec<(String, Option<String>)> {
    let Value::Map(entries) = &node.value else {
        problems.push(node.at, "here must be `header: value` lines", None);
        return Vec::new();
    };
    let mut out = Vec::new();
    for entry in entries {
        if !request::is_token(&entry.key) {
            problems.push(entry.at, format!("`{}` is no name of a header", entry.key), None);
            continue;
        }
        match entry.node.text() {
            Some("absent") => out.push((entry.key.clone(), None)),
            Some(text) => out.push((entry.key.clone(), Some(text.to_owned()))),
            None => problems.push(entry.node.at, "a header is one value", None),
        }
    }
    out
}

/// What can be looked at in a decision, and in a diagnosis.
const OF_NOTE: [&str; 1] = ["text"];
const OF_DIAGNOSIS: [&str; 7] = ["about", "came", "change", "check", "clause", "here", "text"];

/// The header and parameter a condition looks at; only headers of SIP have parameters.
fn parameter_of(what: &Seen, key: &str) -> Result<(String, Option<String>), String> {
    let (whose, known) = match what {
        Seen::Note { .. } => ("a decision", OF_NOTE.as_slice()),
        Seen::Diagnosis => ("a diagnosis", OF_DIAGNOSIS.as_slice()),
        Seen::Message { .. } | Seen::State(_) => ("", [].as_slice()),
    };
    if !known.is_empty() && !known.contains(&key) {
        let near =
            nearest(key, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let help = near.unwrap_or_else(|| format!("there is: {}", known.join(", ")));
        return Err(format!("{whose} has no `{key}`; {help}"));
    }
    let (name, parameter) = parameter::read_name(key)?;
    let is_sip = match what {
        Seen::Message { label, .. } => !fault::COMMANDS.contains(&label.as_str()),
        Seen::Diagnosis | Seen::Note { .. } | Seen::State(_) => false,
    };
    match parameter {
        Some(_) if !is_sip => Err(format!("`{key}`: only headers of SIP have parameters")),
        parameter => Ok((name, parameter)),
    }
}
