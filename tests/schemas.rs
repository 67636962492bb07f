//! The JSON Schemas that editors get: every scenario and lab that ships validates against them, and
//! files with mistakes of structure do not. The judge is python3-jsonschema, where it is installed.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test may fail")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use cscf_core::config::Lab;
use scenarios::{builtin, schema};
use serde_json::{Value, json};

/// Judges instances; one line each: `ok`, or where and why not.
const JUDGE: &str = r#"
import json, sys
import jsonschema
schema, *instances = map(json.loads, sys.stdin.read().splitlines())
judge = jsonschema.Draft7Validator
judge.check_schema(schema)
judge = judge(schema)
for instance in instances:
    fault = next(iter(judge.iter_errors(instance)), None)
    if fault is None:
        print("ok")
    else:
        print(list(fault.absolute_path), fault.message[:200].replace("\n", " "))
"#;

/// Mistakes that a schema can see.
const OF_STRUCTURE: [&str; 24] = [
    "key-title-missing",
    "key-steps-missing",
    "key-unknown",
    "key-of-party",
    "key-of-network",
    "key-of-lab",
    "steps-a-mapping",
    "step-of-two-sentences",
    "step-a-list",
    "step-empty",
    "verb-misspelt",
    "verb-unknown",
    "state-missing",
    "message-missing",
    "unit-missing",
    "unit-unknown",
    "reject-with",
    "parties-a-list",
    "party-mistake",
    "party-values",
    "only-live",
    "shows-values",
    "together-one",
    "together-a-list",
];

/// Whether the judge is there; says so where it is not.
fn installed() -> bool {
    let found = Command::new("python3")
        .args(["-c", "import jsonschema"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        let required = std::env::var_os("CSCF_REQUIRE_TOOLS").is_some();
        assert!(!required, "python3-jsonschema is not installed, and CSCF_REQUIRE_TOOLS is set");
        println!("skipped: python3-jsonschema is not installed");
    }
    found
}

/// What the judge says of each instance.
fn judged(schema: &Value, instances: &[Value]) -> Vec<String> {
    let mut input = format!("{schema}\n");
    for instance in instances {
        writeln!(input, "{instance}").expect("a String takes it");
    }
    let mut file = tempfile::tempfile().expect("file");
    std::io::Write::write_all(&mut file, input.as_bytes()).expect("writes");
    std::io::Seek::rewind(&mut file).expect("rewinds");
    let output = Command::new("python3").args(["-c", JUDGE]).stdin(file).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// A YAML file as an editor sees it: numbers and switches are no texts.
fn instance(name: &str, source: &str) -> Value {
    serde_yaml::from_str(source).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

#[test]
fn each_scenario_that_ships_validates() {
    if !installed() {
        return;
    }
    let instances: Vec<Value> =
        builtin::ALL.iter().map(|it| instance(it.file, it.source)).collect();
    let said = judged(&schema::scenario(), &instances);
    let wrong: Vec<String> = builtin::ALL
        .iter()
        .zip(&said)
        .filter(|(_, said)| *said != "ok")
        .map(|(it, said)| format!("{}: {said}", it.file))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(said.len(), builtin::ALL.len());
}

#[test]
fn labs_that_the_program_writes_validate_and_others_do_not() {
    if !installed() {
        return;
    }
    let lab = Lab::default_lab().to_yaml();
    let wrong = ["nodes: {}\n", "domain: a.b\n", "domain: a.b\nnodes: {p1: {role: pcscf}}\n"];
    let unknown = format!("{lab}\nsubscriber: {{}}\n");
    let mut instances = vec![instance("the built-in lab", &lab)];
    instances.extend(wrong.iter().map(|source| instance(source, source)));
    instances.push(instance("an unknown key", &unknown));
    let said = judged(&schema::lab(), &instances);
    assert_eq!(said.first().map(String::as_str), Some("ok"), "{said:?}");
    assert!(said.iter().skip(1).all(|said| said != "ok"), "{said:?}");
}

#[test]
fn mistakes_of_structure_do_not_validate() {
    if !installed() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mistakes");
    let instances: Vec<Value> = OF_STRUCTURE
        .iter()
        .map(|name| {
            let source = std::fs::read_to_string(folder.join(format!("{name}.yaml")));
            instance(name, &source.expect("reads"))
        })
        .collect();
    let said = judged(&schema::scenario(), &instances);
    for (name, said) in OF_STRUCTURE.iter().zip(said) {
        assert_ne!(said, "ok", "{name} validates");
    }
}

#[test]
fn the_reader_and_the_schema_agree() {
    if !installed() {
        return;
    }
    let of = |head: &str, step: &str| format!("scenario: x\n{head}\nsteps:\n  - {step}\n");
    let steps = [
        (true, "alice calls bob with video"),
        (false, "alice calls bob without video"),
        (true, "alice calls bob without preconditions"),
        (true, "p1 receives 200 from bob for INVITE"),
        (true, "p1 sends 200 for INVITE to bob within 2s"),
        (false, "p1 receives INVITE from alice from bob"),
        (false, "p1 sends 200 for INVITE for BYE"),
        (true, "p1 sends no 200 to bob for INVITE"),
        (false, "p1 receives no INVITE to bob"),
        (true, "{alice receives 401: {Via: [present, contains SIP]}}"),
        (false, "{alice receives 401: {Via: []}}"),
        (false, "{alice receives 401: {Via: {contains: SIP}}}"),
        (true, "{alice receives 401: {transport: udp as $how}}"),
        (true, "{alice receives 401: {transport: absent}}"),
        (false, "{alice receives 401: {clause: [a, b]}}"),
        (false, "{when alice registers: {}}"),
        (false, "when from now on p1 drops 401 to alice, first"),
        (true, "{from now on p1 drops 401 to alice: {}}"),
    ];
    let heads = [
        (true, "parties: {alice: {video: on, sms: true, gruu: true}}"),
        (false, "parties: {alice: {video: allow}}"),
        (true, "lab: {aka_without_sec_agree: allow, sec_agree: false, outbound: false}"),
        (false, "lab: {outbound: refuse}"),
        (false, "test: {id: [x], clause: y}"),
        (false, "shows: {code: RC-401, by: ue, because: [], clause: y}"),
    ];
    let steps = steps.iter().map(|(right, step)| (*right, of("", step)));
    let heads = heads.iter().map(|(right, head)| (*right, of(head, "alice registers")));
    let all: Vec<(bool, String)> = steps.chain(heads).collect();
    let instances: Vec<Value> = all.iter().map(|(_, it)| instance(it, it)).collect();
    let said = judged(&schema::scenario(), &instances);
    let mut wrong = Vec::new();
    for ((right, source), said) in all.iter().zip(said) {
        let reads = scenarios::script::read_scenario(source, "ims.example");
        if reads.is_ok() != *right {
            wrong.push(format!("the reader: {source}{reads:?}"));
        }
        if (said == "ok") != *right {
            wrong.push(format!("the schema: {source}{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_right_in_the_mistakes_validates() {
    if !installed() {
        return;
    }
    // Expectations that are not met are no mistakes of the file.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mistakes");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        if name.starts_with("unmet-") && name.ends_with(".yaml") {
            let source = std::fs::read_to_string(&path).expect("reads");
            names.push((instance(&name, &source), name));
        }
    }
    let instances: Vec<Value> = names.iter().map(|(value, _)| value.clone()).collect();
    for (said, (_, name)) in judged(&schema::scenario(), &instances).iter().zip(&names) {
        assert_eq!(said, "ok", "{name}");
    }
    assert_ne!(judged(&schema::scenario(), &[json!({"steps": 1})]), ["ok"]);
}
