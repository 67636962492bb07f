//! `cscf doctor` tells of each thing whether it goes here, and its exit code is the answer.

use crate::running::{cscf, output, text};

#[test]
fn the_doctor_tells_each_thing_and_its_exit_code_is_whether_a_protected_call_is_possible() {
    let told = output(cscf().args(["doctor", "--json"]));
    let lines: Vec<serde_json::Value> =
        text(&told.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let verdict = |check: &str| {
        let line = lines.iter().find(|line| line["check"] == check).expect(check);
        let verdict = line["verdict"].as_str().expect("a verdict").to_owned();
        assert!(["yes", "partly", "no"].contains(&verdict.as_str()), "{line}");
        // Each line has its reason, and what does not go what allows it.
        assert!(!line["what"].as_str().expect("a reason").is_empty(), "{line}");
        verdict
    };
    for check in ["ipv6", "ports", "open_files"] {
        verdict(check);
    }
    let forms = ["kernel_esp_ipv4", "kernel_esp_ipv6", "raw_sockets", "own_network", "esp_in_udp"];
    let possible = forms.iter().filter(|check| verdict(check) != "no").count() > 0;
    assert_eq!(told.status.code(), Some(if possible { 0 } else { 1 }));

    let told = output(cscf().arg("doctor"));
    let said = text(&told.stdout);
    assert_eq!(said.lines().count(), lines.len() + 2, "{said}");
    assert_eq!(said.contains("A protected call is possible"), possible, "{said}");
}
