//! `cscf new`: makes a scenario of a trace, which does the same again, or an empty one to fill.
//!
//! Commands are read off what phones began by themselves; what a phone of this project does without
//! being told (answers to challenges, PRACK, UPDATE of preconditions, ACK, the subscription to the
//! reg event, refreshes) is left to it. Expectations are on statuses and on the headers that stay
//! the same from run to run. What the language or the emulated phone cannot do is told, as a
//! comment at its place and as a loss.

mod people;
mod steps;

use std::fmt::Write as _;

use cscf_core::config::Lab;

use crate::capture::Capture;
use crate::explain::traffic::Traffic;

/// A scenario made of a trace.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The text of the file.
    pub text: String,
    /// What it does not hold, in words, with frames.
    pub losses: Vec<String>,
}

/// Makes a scenario of a capture; its users become those of the lab by their identities, else by
/// their order.
///
/// # Errors
///
/// When no phone begins anything in it.
pub fn record(capture: &Capture, title: &str, lab: &Lab) -> Result<Recording, String> {
    let traffic = Traffic::of(capture);
    let people = people::People::of(&traffic, lab)?;
    let told = steps::steps(&traffic, &people);
    if !told.commands {
        return Err("no phone begins anything that a scenario could say".to_owned());
    }
    let mut losses = people.losses.clone();
    losses.extend(told.losses);
    let mut text = format!("scenario: {}\n", one_line(title));
    let parties = people.parties();
    if !parties.is_empty() {
        text.push_str("parties:\n");
        for (name, values) in parties {
            let _ = writeln!(text, "  {name}: {{{values}}}");
        }
    }
    if people.uses_associations() {
        text.push_str(
            "only: virtual, because security associations are those of the simulated network\n",
        );
    }
    text.push_str("steps:\n");
    text.push_str(&told.text);
    Ok(Recording { text, losses })
}

/// A text that YAML takes as a plain scalar.
fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    format!("\"{}\"", plain.replace(['"', '\\'], "'").trim())
}

/// A scenario to fill: it runs as it is.
#[must_use]
pub fn skeleton(title: &str) -> String {
    format!(
        "\
# A scenario of cscf. `cscf run FILE` runs it, `cscf run --virtual FILE` in virtual time.
# The language: docs/scenario-language.md; `cscf schema` completes it in an editor.
scenario: {title}

# UEs that differ from the lab's subscribers of that name. Take the marks away to use it.
# parties:
#   alice: {{mistakes: wrong key}}
#   bob: {{codecs: amr, when_called: answers after 2s}}

# What differs from the lab file.
# lab:
#   expires_min: 600s

steps:
  # A command: what somebody does.
  - alice registers
  # An expectation: a message at any hop, with what it must look like.
  - alice receives 200 for REGISTER within 2s:
      Service-Route: present
  # A state of a UE.
  - alice is registered
  - bob registers
  - bob is registered
  - alice calls bob
  - bob receives INVITE from p1:
      P-Asserted-Identity: present
  - alice receives 180 for INVITE
  - bob answers
  - alice is call established
  # What must not happen, and for how long.
  # - bob sends no BYE within 1s
  - alice hangs up
  - bob is call ended
",
        title = one_line(title)
    )
}
