//! tshark as a witness of protected runs: it captures what is on the wire between UEs and P-CSCF,
//! and opens it with the keys that the run has left.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cscf_core::config::{EspBackend, Lab};
use cscf_core::host::protected::raw_can;

use crate::running::{cscf, installed, output, text};

/// Captures ESP on loopback into a file; `None` where that is not allowed.
fn capture(file: &Path) -> Option<Child> {
    let mut child = Command::new("tshark")
        .args(["-i", "lo", "-f", "ip proto 50", "-w"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tshark starts");
    let words = BufReader::new(child.stderr.take().expect("piped")).lines();
    let begun = words.map_while(Result::ok).any(|line| line.contains("Capture started"));
    begun.then_some(child).or_else(|| {
        println!("skipped: tshark may not capture here");
        None
    })
}

/// Runs a scenario on raw sockets in the network of this machine; gives the lines of its keys.
fn run(folder: &Path) -> Vec<String> {
    let mut lab = Lab::default_lab();
    lab.gm.backend = EspBackend::Raw;
    let file = folder.join("lab.yaml");
    std::fs::write(&file, lab.to_yaml()).expect("writes");
    let mut command = cscf();
    command.current_dir(folder).args(["run", "call-over-associations", "--out", "out", "--lab"]);
    let ran = output(command.arg(&file));
    assert!(ran.status.success(), "{}{}", text(&ran.stdout), text(&ran.stderr));
    let keys = std::fs::read_to_string(folder.join("out/esp_sa")).expect("keys");
    keys.lines().map(str::to_owned).collect()
}

#[test]
fn a_capture_of_a_protected_call_is_opened_by_the_keys_of_the_run() {
    if !installed("tshark") {
        return;
    }
    if let Err(why) = raw_can() {
        println!("skipped: {why}");
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("gm.pcapng");
    let Some(mut capturing) = capture(&file) else { return };
    let keys = run(folder.path());
    let pid = capturing.id().to_string();
    output(Command::new("kill").args(["-INT", &pid]));
    capturing.wait().expect("ends");
    assert_eq!(keys.len(), 8, "{keys:?}");
    // Wireshark reads the table from its folder of settings.
    let settings = folder.path().join("settings/wireshark");
    std::fs::create_dir_all(&settings).expect("a folder");
    std::fs::copy(folder.path().join("out/esp_sa"), settings.join("esp_sa")).expect("copies");
    // Others of these tests may have packets on loopback: ours are those of this network.
    let address = keys[0].split('"').nth(3).expect("an address");
    let (network, _) = address.rsplit_once('.').expect("IPv4");
    let found = output(
        Command::new("tshark")
            .env("XDG_CONFIG_HOME", folder.path().join("settings"))
            .arg("-r")
            .arg(&file)
            .args(["-o", "esp.enable_encryption_decode:TRUE"])
            .args(["-o", "esp.enable_authentication_check:TRUE"])
            .args(["-Y", &format!("ip.addr == {network}.0/24"), "-T", "fields"])
            .args(["-e", "esp.icv_good", "-e", "sip.Method", "-e", "sip.Status-Code"]),
    );
    assert!(found.status.success(), "{}", text(&found.stderr));
    let said = text(&found.stdout);
    let packets: Vec<Vec<&str>> = said.lines().map(|line| line.split('\t').collect()).collect();
    assert!(packets.len() > 20, "{said}");
    assert!(packets.iter().all(|packet| packet[0] == "1"), "an ICV is wrong: {said}");
    for method in ["REGISTER", "SUBSCRIBE", "NOTIFY", "INVITE", "ACK", "BYE"] {
        assert!(packets.iter().any(|packet| packet[1] == method), "no {method}: {said}");
    }
}
