//! baresip as the client of others: two of them register by digest, call each other, answer and
//! hang up. Skipped where baresip is not installed.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use cscf_core::transport::Transport;
use scenarios::certificates;

use crate::running::{Program, Running, WITHIN, installed, md5_only, secret, text, wait_until};

/// Where a baresip takes orders.
const ORDERS: u16 = 4444;

/// A running baresip without sound.
struct Baresip {
    program: Program,
    orders: TcpStream,
    heard: Vec<u8>,
}

impl Baresip {
    /// Starts it for a subscriber at this host, and waits until it is registered.
    fn start(lab: &Running, name: &str, host: u8) -> Self {
        Self::start_over(lab, name, host, None)
    }

    /// The same over TLS with this CA to trust, or as it likes.
    fn start_over(lab: &Running, name: &str, host: u8, tls: Option<(SocketAddr, &Path)>) -> Self {
        let (subscriber, ip) = (lab.subscriber(name), lab.ip(host));
        let folder = lab.folder.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        let transport = if tls.is_some() { ";transport=tls" } else { "" };
        let to = tls.map_or_else(|| lab.pcscf(), |(addr, _)| addr);
        let account = format!(
            "<sip:{name}@{}{transport}>;auth_user={};auth_pass={};\
             outbound=\"sip:{to}{transport}\";regint=600\n",
            lab.lab.domain,
            subscriber.impi,
            secret(subscriber),
        );
        let ca = tls.map(|(_, ca)| format!("sip_cafile {}\n", ca.display()));
        for (file, content) in [
            ("config", config(ip) + &ca.unwrap_or_default()),
            ("accounts", account),
            ("contacts", String::new()),
        ] {
            std::fs::write(folder.join(file), content).expect("writes");
        }
        let program = Program::start(Command::new("baresip").arg("-f").arg(&folder));
        let orders = wait_until(|| TcpStream::connect((ip, ORDERS)).ok());
        orders.set_read_timeout(Some(WITHIN)).expect("a timeout");
        lab.wait_for(&format!("{name} registered from "));
        Self { program, orders, heard: Vec::new() }
    }

    /// Gives an order: JSON in a netstring.
    fn order(&mut self, command: &str, params: &str) {
        let order = format!(r#"{{"command":"{command}","params":"{params}"}}"#);
        write!(self.orders, "{}:{order},", order.len()).expect("takes orders");
    }

    /// Waits until it tells of something new that contains this.
    fn tells(&mut self, part: &str) {
        let mut buffer = [0; 4096];
        loop {
            let heard = text(&self.heard);
            if let Some((_, rest)) = heard.split_once(part) {
                self.heard = rest.as_bytes().to_vec();
                return;
            }
            match self.orders.read(&mut buffer) {
                Ok(count) if count > 0 => self.heard.extend(&buffer[..count]),
                end => panic!("no `{part}` ({end:?}) in {heard}"),
            }
        }
    }

    fn quits(mut self) {
        self.order("quit", "");
        let output = self.program.end();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

fn config(ip: Ipv4Addr) -> String {
    let modules = ["/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"];
    let path = modules.iter().find(|path| Path::new(path).is_dir());
    format!(
        "module_path {}\nsip_listen {ip}:5060\nnet_interface {ip}\nctrl_tcp_listen {ip}:{ORDERS}\n\
         module g711.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n",
        path.expect("modules of baresip")
    )
}

#[test]
fn two_of_them_call_each_other_and_hang_up() {
    if !installed("baresip") {
        return;
    }
    let lab = Running::start_with(|lab, _| {
        md5_only(lab);
        Vec::new()
    });
    let mut carol = Baresip::start(&lab, "carol", 103);
    let mut dave = Baresip::start(&lab, "dave", 104);

    carol.order("dial", &format!("sip:dave@{}", lab.lab.domain));
    dave.tells("CALL_INCOMING");
    carol.tells("CALL_RINGING");
    dave.order("accept", "");
    carol.tells("CALL_ESTABLISHED");
    dave.tells("CALL_ESTABLISHED");
    lab.wait_for("carol calls dave: answered");
    carol.order("hangup", "");
    dave.tells("CALL_CLOSED");
    lab.wait_for("call of carol and dave ended");

    // By number, and who was called hangs up.
    dave.order("dial", &format!("sip:+15550100003@{};user=phone", lab.lab.domain));
    carol.tells("CALL_INCOMING");
    dave.tells("CALL_RINGING");
    carol.order("accept", "");
    dave.tells("CALL_ESTABLISHED");
    carol.tells("CALL_ESTABLISHED");
    lab.wait_for("dave calls carol: answered");
    carol.order("hangup", "");
    dave.tells("CALL_CLOSED");
    lab.wait_for("call of carol and dave ended");

    carol.quits();
    lab.wait_for("carol deregistered");
    dave.quits();
    lab.wait_for("dave deregistered");
    lab.end();
}

#[test]
fn two_of_them_call_each_other_over_tls() {
    if !installed("baresip") {
        return;
    }
    let lab = Running::start_with(|lab, folder| {
        md5_only(lab);
        lab.nodes[0].listen_for(Transport::Tls);
        lab.tls = certificates::make(lab, &folder.join("tls")).expect("certificates");
        Vec::new()
    });
    let ca = lab.folder.path().join("tls/ca.pem");
    let to = lab.lab.nodes[0].secured.tls.expect("listens");
    let mut carol = Baresip::start_over(&lab, "carol", 103, Some((to, &ca)));
    let mut dave = Baresip::start_over(&lab, "dave", 104, Some((to, &ca)));

    carol.order("dial", &format!("sip:dave@{}", lab.lab.domain));
    dave.tells("CALL_INCOMING");
    dave.order("accept", "");
    carol.tells("CALL_ESTABLISHED");
    dave.tells("CALL_ESTABLISHED");
    lab.wait_for("carol calls dave: answered");
    dave.order("hangup", "");
    carol.tells("CALL_CLOSED");
    lab.wait_for("call of dave and carol ended");

    carol.quits();
    lab.wait_for("carol deregistered");
    dave.quits();
    lab.wait_for("dave deregistered");
    lab.end();
}
