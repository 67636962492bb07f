//! `cscf ladder FILE`: draws a saved trace, or any capture of SIP, as text or as a page.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use cscf_core::sip::{HeaderName, Method};

use super::term;
use crate::capture::{self, Capture};
use crate::explain::traffic::Traffic;
use crate::report::{Parties, artefacts, html, ladder, plain};

/// What `cscf ladder` is asked.
#[derive(Clone, Debug, Args)]
pub struct LadderArgs {
    /// A `trace.jsonl`, a pcap or a pcapng with SIP or Diameter
    pub file: PathBuf,
    /// Write a page that needs no network instead of printing text
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print every decision with its clause under its message
    #[arg(long)]
    pub explain: bool,
}

/// Draws it.
pub(super) fn ladder(args: &LadderArgs) -> Result<String, String> {
    let shown = args.file.display();
    let mut capture =
        capture::read_file(&args.file).map_err(|fault| format!("{shown}: {fault}"))?;
    for flaw in &capture.flaws {
        term::error(&format!("{shown}: {}", plain(flaw)));
    }
    name_devices(&mut capture);
    let events = capture.events();
    if events.is_empty() {
        return Err(format!("{shown}: holds no SIP and no Diameter"));
    }
    let parties = Parties::guess(&events, &capture.names);
    if let Some(path) = &args.html {
        let title = args.file.file_name().unwrap_or_default().to_string_lossy();
        let page = html::draw(&title, &events, &parties, None);
        artefacts::write_file(path, page.as_bytes()).map_err(|fault| fault.to_string())?;
        return Ok(String::new());
    }
    let colour = term::colour(&std::io::stdout());
    let style = ladder::Style { colour, explain: args.explain };
    Ok(ladder::draw(&events, &parties.columns, &parties.names, style))
}

/// Gives the ports of a device its name, where the file does not: a phone on TCP has many. Where
/// several users register from one host, it may hold several phones.
fn name_devices(capture: &mut Capture) {
    let traffic = Traffic::of(capture);
    let mut users: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
    for (item, _) in traffic.own_requests().filter(|(it, _)| it.method == Method::Register) {
        users.entry(item.from_addr.ip()).or_default().insert(item.header(HeaderName::To));
    }
    for (addr, name) in &traffic.names {
        if users.get(&addr.ip()).is_none_or(|users| users.len() == 1) {
            capture.names.entry(*addr).or_insert_with(|| name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::time::Instant;
    use cscf_core::trace::Protocol;
    use cscf_core::transport::Transport;

    use super::*;
    use crate::capture::Captured;

    #[test]
    fn the_ports_of_one_phone_share_a_lifeline_and_two_phones_do_not() {
        let capture = |users: [&str; 2]| {
            let mut capture = Capture::default();
            for (port, user) in [50_601, 50_602].into_iter().zip(users) {
                let text = format!(
                    "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{port}\r\n\
                     From: <sip:{user}@x>;tag=1\r\nTo: <sip:{user}@x>\r\nCall-ID: {port}\r\n\
                     CSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
                );
                capture.messages.push(Captured {
                    frame: u64::from(port),
                    at: Instant::EPOCH,
                    from: ([192, 0, 2, 1], port).into(),
                    to: ([192, 0, 2, 9], 5060).into(),
                    transport: Transport::Tcp,
                    protocol: Protocol::Sip,
                    protected: false,
                    bytes: text.into(),
                });
            }
            name_devices(&mut capture);
            let events = capture.events();
            Parties::guess(&events, &capture.names).columns
        };
        assert_eq!(capture(["a", "a"]), ["192.0.2.1", "192.0.2.9"]);
        assert_eq!(capture(["a", "b"]), ["192.0.2.1:50601", "192.0.2.9", "192.0.2.1:50602"]);
    }
}
