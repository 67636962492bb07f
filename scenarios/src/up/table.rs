//! How to point a UE at a lab: what a person types into a phone or client.

use std::fmt::Write as _;

use cscf_core::config::{Auth, Lab, NodeRole, SecAgree, SubscriberConfig};
use cscf_core::host::protected::Chosen;
use cscf_core::time::Duration;
use cscf_core::transport::Transport;

/// Subscribers shown at most.
const SHOWN_MAX: usize = 20;

/// The table that `cscf up` prints once the lab is ready, so long after it was started.
#[must_use]
pub(super) fn table(lab: &Lab, esp: &Chosen, ready_after: Duration) -> String {
    let mut out = String::new();
    if let Some(pcscf) = lab.node(NodeRole::Pcscf) {
        let _ = writeln!(out, "\nP-CSCF       {}, UDP and TCP", pcscf.advertised());
    }
    for node in lab.nodes.iter().filter(|node| node.role == NodeRole::Pcscf) {
        for (transport, addr) in node.secured_listeners() {
            let (name, what) = match transport {
                Transport::Tls => ("TLS", "sip over TLS"),
                Transport::Ws => ("WS", "WebSocket"),
                Transport::Wss => ("WSS", "WebSocket over TLS"),
                Transport::Tcp | Transport::Udp => continue,
            };
            let _ = writeln!(out, "{name:<12} {addr}, {what} at {}", node.name);
        }
    }
    if let Some(ca) = lab.tls.ca.as_ref().filter(|_| lab.needs_certificate()) {
        let _ = writeln!(out, "CA           {}, to be trusted by who comes by TLS", ca.display());
    }
    let _ = writeln!(out, "home domain  {}", lab.domain);
    if lab.gm.sec_agree != SecAgree::Off {
        let _ = match &esp.protect {
            Some(_) => writeln!(out, "Gm           {}", esp.why),
            None => writeln!(out, "Gm           no security agreement: {}", esp.why),
        };
    }
    let count = lab.subscribers.count();
    let _ = writeln!(out, "subscribers  {count}, ready after {:.2} s", ready_after.as_secs_f64());
    for subscriber in lab.subscribers.iter().take(SHOWN_MAX) {
        out.push('\n');
        one(&mut out, &subscriber);
    }
    if count > SHOWN_MAX {
        let _ = writeln!(out, "\nand {} more", count - SHOWN_MAX);
    }
    out
}

fn one(out: &mut String, subscriber: &SubscriberConfig) {
    let _ = writeln!(out, "{:<12} IMPI      {}", subscriber.name, subscriber.impi);
    let default = subscriber.default_impu();
    let open = subscriber.impus.iter().filter(|impu| !impu.barred);
    let barred = subscriber.impus.iter().filter(|impu| impu.barred);
    let mut label = "IMPU";
    for impu in open.chain(barred) {
        let remark = if impu.barred {
            "  (only to register)"
        } else if Some(impu.uri.as_str()) == default {
            "  (default)"
        } else {
            ""
        };
        let _ = writeln!(out, "{:<12} {label:<9} {}{remark}", "", impu.uri);
        label = "";
    }
    match &subscriber.auth {
        Auth::Aka { k, opc, amf, .. } => {
            let _ = writeln!(out, "{:<12} K         {}", "", hex(k));
            let _ = writeln!(out, "{:<12} OPc       {}   AMF {}", "", hex(opc), hex(amf));
        }
        Auth::Card { keys, amf, .. } => {
            let _ = writeln!(out, "{:<12} keys      {keys:?}   AMF {}", "", hex(amf));
        }
        Auth::Digest { password, algorithms } => {
            let algorithms = algorithms.join(", ");
            let _ = writeln!(out, "{:<12} password  {password}   ({algorithms})", "");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_a_client_is_told() {
        let mut lab = Lab::default_lab();
        let esp = Chosen { why: "no ESP here: none".to_owned(), ..Chosen::default() };
        let text = table(&lab, &esp, Duration::from_millis(340));
        for part in [
            "P-CSCF       127.0.0.1:5060, UDP and TCP\n",
            "Gm           no security agreement: no ESP here: none\n",
            "home domain  ims.mnc001.mcc001.3gppnetwork.org\n",
            "carol        IMPI      carol@ims.mnc001.mcc001.3gppnetwork.org\n",
            "password  carol-secret   (MD5)\n",
            "K         30313233343536373839616263646566\n",
            "(only to register)\n",
            "subscribers  4, ready after 0.34 s\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
            lab.nodes[0].listen_for(transport);
        }
        lab.tls.ca = Some("tls/ca.pem".into());
        let text = table(&lab, &esp, Duration::ZERO);
        for part in [
            "TLS          127.0.0.1:5061, sip over TLS at p1\n",
            "WS           127.0.0.1:8080, WebSocket at p1\n",
            "WSS          127.0.0.1:8443, WebSocket over TLS at p1\n",
            "CA           tls/ca.pem, to be trusted",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let alice = lab.subscribers.listed()[0].clone();
        lab.subscribers.extend(std::iter::repeat_n(alice, 96));
        let text = table(&lab, &esp, Duration::ZERO);
        assert!(text.contains("subscribers  100, ") && text.ends_with("\nand 80 more\n"), "{text}");
    }
}
