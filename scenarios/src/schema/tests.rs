//! The schemas and the readers know the same keys and sentences.

use cscf_core::config::{Lab, read_lab};

use super::nodes::{of_i_cscf, of_load, of_p_cscf, of_s_cscf, of_server, of_shards};
use super::sentences::{SENTENCES, pattern};
use super::*;
use crate::builtin;
use crate::script::read_scenario;

/// The keys that a reader lists when it meets one that nobody knows.
fn keys_known(said: &str) -> Vec<String> {
    let list = said.lines().find_map(|line| line.split_once("known here: "));
    let mut keys: Vec<String> =
        list.map(|(_, keys)| keys).unwrap_or_default().split(", ").map(str::to_owned).collect();
    keys.sort();
    keys
}

fn keys_of(schema: &Value) -> Vec<String> {
    let mut keys: Vec<String> =
        schema["properties"].as_object().expect("a mapping").keys().cloned().collect();
    keys.sort();
    keys
}

fn read_by_scenario(source: &str) -> Vec<String> {
    let problems = read_scenario(source, "ims.example").expect_err("an unknown key");
    let helps = problems.0.iter().filter_map(|it| it.help.clone());
    keys_known(&helps.collect::<Vec<_>>().join("\n"))
}

fn read_by_lab(source: &str) -> Vec<String> {
    let problems = read_lab(source).expect_err("an unknown key");
    let helps = problems.0.iter().filter_map(|it| it.help.clone());
    keys_known(&helps.filter(|it| it.starts_with("known here")).collect::<Vec<_>>().join("\n"))
}

#[test]
fn scenarios_have_the_keys_of_the_reader() {
    let schema = scenario();
    let end = "\nsteps: []\n";
    let inside = |part: &Value| part["anyOf"][0].clone();
    for (source, part) in [
        (format!("scenario: x\nzzzzzzzzzzzz: 1{end}"), schema.clone()),
        (
            format!("scenario: x\nparties: {{alice: {{zzzzzzzzzzzz: 1}}}}{end}"),
            inside(&schema["properties"]["parties"]["additionalProperties"]),
        ),
        (
            format!("scenario: x\nnetwork: {{zzzzzzzzzzzz: 1}}{end}"),
            schema["properties"]["network"].clone(),
        ),
        (
            format!("scenario: x\nlab: {{zzzzzzzzzzzz: 1}}{end}"),
            schema["properties"]["lab"].clone(),
        ),
        (
            format!("scenario: x\ntest: {{zzzzzzzzzzzz: 1}}{end}"),
            schema["properties"]["test"].clone(),
        ),
        (
            format!("scenario: x\nshows: {{zzzzzzzzzzzz: 1}}{end}"),
            inside(&schema["properties"]["shows"]),
        ),
    ] {
        assert_eq!(keys_of(&part), read_by_scenario(&source), "{source}");
    }
}

#[test]
fn labs_have_the_keys_of_the_reader() {
    let schema = lab();
    let definitions = &schema["definitions"];
    for (source, part) in [
        ("zzzzzzzzzzzz: 1\n", schema.clone()),
        ("registration: {zzzzzzzzzzzz: 1}\n", schema["properties"]["registration"].clone()),
        ("core_timers: {zzzzzzzzzzzz: 1}\n", schema["properties"]["core_timers"].clone()),
        ("gm_security: {zzzzzzzzzzzz: 1}\n", schema["properties"]["gm_security"].clone()),
        ("numbering: {zzzzzzzzzzzz: 1}\n", definitions["numbering"].clone()),
        ("subscribers: {a: {zzzzzzzzzzzz: 1}}\n", definitions["subscriber"].clone()),
        (
            "subscribers: {a: {filter_criteria: [{zzzzzzzzzzzz: 1}]}}\n",
            definitions["criteria"]["items"].clone(),
        ),
    ] {
        let keys = keys_of(&part);
        if !source.starts_with("subscribers: {a: {filter") {
            assert_eq!(keys, read_by_lab(source), "{source}");
        }
        assert!(!keys.is_empty());
    }
    for (role, own) in [
        ("p-cscf", of_p_cscf()),
        ("i-cscf", of_i_cscf()),
        ("s-cscf", of_s_cscf()),
        ("as", of_server()),
    ] {
        let several = matches!(role, "p-cscf" | "s-cscf");
        let shards = several.then(of_shards).unwrap_or_default();
        let own =
            own.into_iter().chain(of_load()).chain(shards).map(|(name, _, _)| name.to_owned());
        let common = ["advertise", "capabilities", "control", "domain", "listen", "role"];
        let mut keys: Vec<String> = own.chain(common.map(str::to_owned)).collect();
        keys.sort();
        let source = format!("nodes: {{n: {{role: {role}, zzzzzzzzzzzz: 1}}}}\n");
        assert_eq!(keys, read_by_lab(&source), "{role}");
    }
}

#[test]
fn each_proposed_sentence_is_one() {
    for sentence in &SENTENCES {
        let source = format!("scenario: x\nsteps:\n  - {}\n", sentence.example);
        read_scenario(&source, "ims.example").expect(sentence.example);
        let pattern = regex::Regex::new(&pattern(sentence.form)).expect("a pattern");
        assert!(pattern.is_match(sentence.example), "{}", sentence.example);
    }
}

#[test]
fn each_sentence_of_the_scenarios_has_its_pattern() {
    let domain = Lab::default_lab().domain;
    let patterns: Vec<regex::Regex> = SENTENCES
        .iter()
        .map(|it| regex::Regex::new(&pattern(it.form)).expect("a pattern"))
        .collect();
    for builtin in builtin::ALL {
        let scenario = read_scenario(builtin.source, &domain).expect("reads");
        for step in scenario.all_steps() {
            let fits = patterns.iter().any(|pattern| pattern.is_match(&step.text));
            assert!(fits, "{}: {}", builtin.file, step.text);
        }
    }
}

#[test]
fn a_wrong_verb_has_no_pattern() {
    for wrong in ["alice regsters", "p1 receives", "wait 5", "alice rejects with 200", "alice is"] {
        let fits = |it: &sentences::Sentence| {
            regex::Regex::new(&pattern(it.form)).expect("a pattern").is_match(wrong)
        };
        assert!(!SENTENCES.iter().any(fits), "{wrong}");
    }
}
