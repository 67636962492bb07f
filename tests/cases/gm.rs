//! A phone by hand with security associations at p1: REGISTERs as text, a home network by hand, and
//! packets under associations made from what the two have said.

use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::auth::{Challenge, Credentials, IntegrityProtected, from_hex};
use cscf_core::config::{GmSecurity, Lab};
use cscf_core::sip::{HeaderName, Message, SecurityMechanism};
use cscf_core::time::Duration;
use cscf_core::transport::ipsec::{
    Algorithms, End, EspKeys, IPSEC_LIFETIME, Offer, Ports, SaCommand, SaSet, offers,
};
use cscf_core::transport::{Flow, SaId, Transport};
use cscf_tests::{Bench, DOMAIN, crlf, header, label};

use super::hand::{A_MOMENT, Hand, credentials_of, response, status};
use super::pcscf_register::ok_lines;

/// The keys that home gives with every challenge.
pub(crate) const CK: &str = "b40ba9a3c58b2a05bbf0d987b21bf8cb";
pub(crate) const IK: &str = "f769bcd751044604127672711c6d3441";
/// The phone's protected server port.
pub(crate) const PORT_US: u16 = 6_500;

/// One agreement of the phone.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) ports: Ports,
    pub(crate) algorithms: &'static str,
}

/// The `number`-th agreement: new SPIs and a new client port each.
pub(crate) fn ask(number: u32) -> Ask {
    let spi = 10_000 + 10 * number;
    let client = 6_501 + u16::try_from(number).expect("few");
    let ports = Ports { client, server: PORT_US, spi_client: spi, spi_server: spi + 1 };
    Ask { ports, algorithms: "alg=hmac-sha-1-96;ealg=null" }
}

impl Ask {
    /// The Security-Client value.
    pub(crate) fn client(&self) -> String {
        let Ports { client, server, spi_client, spi_server } = self.ports;
        format!(
            "ipsec-3gpp;{};prot=esp;mod=trans;spi-c={spi_client};spi-s={spi_server};\
             port-c={client};port-s={server}",
            self.algorithms
        )
    }
}

/// What home has to say next, and the nonces it has given.
pub(crate) struct Phone {
    pub(crate) hand: Hand,
    /// The phone's sets, by the number of the agreement.
    pub(crate) sets: Vec<(u32, SaSet)>,
    pub(crate) nonces: u32,
    /// Branches of requests that were here before.
    seen: Vec<String>,
}

impl Phone {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With these choices of the lab.
    pub(crate) fn with(change: impl FnOnce(&mut GmSecurity)) -> Self {
        Self::in_lab(|lab| {
            change(&mut lab.gm);
            lab.reg_event_subscription = false;
        })
    }

    /// In a lab like this.
    pub(crate) fn in_lab(change: impl FnOnce(&mut Lab)) -> Self {
        let mut bench = Bench::with_lab("scenario: none\nsteps: []\n", 1, change);
        bench.replace("i1", "home");
        let mut hand = Hand::ue(bench, "alice");
        hand.impu = format!("sip:alice@{DOMAIN}");
        hand.contact = format!("Contact: <sip:alice@{}:{PORT_US}>;expires=3600\n", hand.at.ip());
        Self { hand, sets: Vec::new(), nonces: 0, seen: Vec::new() }
    }

    fn ip(&self) -> std::net::IpAddr {
        self.hand.at.ip()
    }

    /// The flow of datagrams under an agreement.
    pub(crate) fn flow(&self, number: u32) -> Flow {
        self.set(number).datagram_flow()
    }

    pub(crate) fn set(&self, number: u32) -> SaSet {
        let found = self.sets.iter().rev().find(|(it, _)| *it == number);
        found.expect("agreed on").1.clone()
    }

    /// The lines of a REGISTER that offers this.
    pub(crate) fn offer(&self, client: &str) -> String {
        format!(
            "Security-Client: {client}\nRequire: sec-agree\nProxy-Require: sec-agree\n\
             Supported: path\n{}",
            self.hand.unchallenged(None)
        )
    }

    /// Sends a REGISTER in clear, or by associations, with this port in Via.
    pub(crate) fn send(&mut self, lines: &str, by: Option<u32>) {
        let text = self.hand.next(lines);
        let (at, ip) = (self.hand.at.to_string(), self.ip());
        match by {
            None => self.hand.send(&text),
            Some(number) => {
                let text = text.replace(&format!("UDP {at}"), &format!("UDP {ip}:{PORT_US}"));
                let text = text.replace(";rport", "");
                self.hand.bench.send_by("ue", self.flow(number), &text);
            }
        }
        self.hand.bench.run_for(A_MOMENT);
    }

    /// What the home network has heard last of this method, if anything new.
    pub(crate) fn at_home(&mut self, method: &str) -> Option<Message> {
        let heard = self.hand.bench.heard("home").into_iter();
        let new: Vec<Message> = heard.filter(|message| self.is_new(message)).collect();
        new.into_iter().filter(|message| label(message) == method).last()
    }

    /// Whether it is no request that was here before.
    fn is_new(&mut self, message: &Message) -> bool {
        let Message::Request(request) = message else { return true };
        let branch = request.top_branch().unwrap_or_default().to_owned();
        let new = !self.seen.contains(&branch);
        self.seen.push(branch);
        new
    }

    /// Home answers; what the phone hears of it, with the flow.
    pub(crate) fn home_says(
        &mut self,
        request: &Message,
        status: &str,
        lines: &str,
    ) -> Vec<(Flow, Message)> {
        let to = self.hand.bench.addr("p1");
        self.hand.bench.send("home", to, &response(request, status, lines));
        self.hand.bench.run_for(A_MOMENT);
        self.heard()
    }

    /// What the phone has heard by datagram.
    pub(crate) fn heard(&mut self) -> Vec<(Flow, Message)> {
        let heard = self.hand.bench.heard_by("ue").into_iter();
        heard.filter(|(_, message)| self.is_new(message)).collect()
    }

    /// The only answer the phone has heard.
    pub(crate) fn answered(&mut self) -> (Flow, Message) {
        let mut heard = self.heard();
        heard.retain(|(_, message)| status(message) >= 200);
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard.remove(0)
    }

    /// The challenge line of home.
    pub(crate) fn challenge_line(&mut self) -> String {
        self.nonces += 1;
        let nonce = format!("bm9uY2Ug{:04}", self.nonces);
        format!(
            "WWW-Authenticate: Digest realm=\"{DOMAIN}\", nonce=\"{nonce}\", \
             algorithm=AKAv1-MD5, qop=\"auth\", opaque=\"o1\", ck=\"{CK}\", ik=\"{IK}\"\n"
        )
    }

    /// Offers an agreement in clear or by associations and gets challenged: gives the 401 with the
    /// flow it came by. The phone has installed its associations afterwards.
    pub(crate) fn challenged(&mut self, number: u32, by: Option<u32>) -> (Flow, Message) {
        let lines = self.offer(&ask(number).client());
        self.send(&lines, by);
        let request = self.at_home("REGISTER").expect("it goes home");
        let line = self.challenge_line();
        let mut heard = self.home_says(&request, "401 Unauthorized", &line);
        assert_eq!(heard.len(), 1, "{heard:?}");
        let (flow, unauthorized) = heard.remove(0);
        self.install(number, &ask(number), &unauthorized);
        (flow, unauthorized)
    }

    /// The phone installs what a 401 allows.
    pub(crate) fn install(&mut self, number: u32, ask: &Ask, unauthorized: &Message) {
        let server = mechanisms(unauthorized, HeaderName::SecurityServer);
        let theirs = offers(&server);
        let own: Vec<&str> = ask.algorithms.split(';').collect();
        let alg = own[0].trim_start_matches("alg=");
        let ealg = own[1].trim_start_matches("ealg=");
        let algorithms = Algorithms::named(alg, ealg).expect("known");
        let chosen: Offer =
            theirs.into_iter().find(|it| it.algorithms == algorithms).expect("offered");
        let (ck, ik) = (from_hex(CK).expect("hex"), from_hex(IK).expect("hex"));
        let set = SaSet {
            id: SaId(100 + number),
            local: End { addr: self.ip(), ports: ask.ports },
            remote: End { addr: self.hand.to.ip(), ports: chosen.ports },
            algorithms,
            mode: chosen.mode,
            keys: EspKeys::expand(algorithms, &ck, &ik),
            lifetime: IPSEC_LIFETIME,
        };
        self.hand.bench.secure("ue", SaCommand::Install(Box::new(set.clone())));
        self.sets.push((number, set));
    }

    /// The lines of the answer to a challenge.
    pub(crate) fn answer(&self, number: u32, unauthorized: &Message) -> String {
        let verify = header(unauthorized, "Security-Server").replace(" | ", ", ");
        let proof = self.proof(unauthorized);
        format!(
            "Security-Client: {}\nSecurity-Verify: {verify}\nRequire: sec-agree\n\
             Proxy-Require: sec-agree\n{proof}",
            ask(number).client()
        )
    }

    /// The Authorization line of an answer to the challenge.
    pub(crate) fn proof(&self, unauthorized: &Message) -> String {
        super::hand::line(self.hand.answer(&challenge(unauthorized), b"res"), None)
    }

    /// Registers by associations: challenge, answer, 200. Gives the flow of the 200.
    pub(crate) fn registered(&mut self, number: u32, by: Option<u32>) -> Flow {
        let (_, unauthorized) = self.challenged(number, by);
        let lines = self.answer(number, &unauthorized);
        self.send(&lines, Some(number));
        let request = self.at_home("REGISTER").expect("it goes home");
        assert_eq!(flag(&request), Some(IntegrityProtected::Yes));
        let (flow, ok) = self.ok(&request);
        assert_eq!(label(&ok), "200 REGISTER");
        flow
    }

    /// Home says 200.
    pub(crate) fn ok(&mut self, request: &Message) -> (Flow, Message) {
        let lines = ok_lines(&self.hand, &[&format!("sip:s@{}", self.home())]);
        let mut heard = self.home_says(request, "200 OK", &lines);
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard.remove(0)
    }

    pub(crate) fn home(&self) -> SocketAddr {
        self.hand.bench.config.node_named("i1").expect("i1").listen
    }

    /// A request other than REGISTER.
    pub(crate) fn request(&mut self, method: &str, transport: Transport) -> String {
        self.hand.cseq += 1;
        let (ip, cseq, p1) = (self.ip(), self.hand.cseq, self.hand.to.ip());
        let home = self.home();
        format!(
            "{method} sip:bob@{DOMAIN} SIP/2.0\n\
             Via: SIP/2.0/{transport} {ip}:{PORT_US};branch=z9hG4bK-m{cseq}\n\
             Max-Forwards: 70\n\
             Route: <sip:{p1}:5062;lr>, <sip:s@{home};lr>\n\
             From: <sip:alice@{DOMAIN}>;tag=m{cseq}\n\
             To: <sip:bob@{DOMAIN}>\n\
             Call-ID: m{cseq}\n\
             CSeq: 1 {method}\n\
             Contact: <sip:alice@{ip}:{PORT_US}>\n\
             Security-Verify: ipsec-3gpp;x=1\n\
             Require: sec-agree\nProxy-Require: sec-agree\n\
             Content-Length: 0\n"
        )
    }

    /// Sends a request other than REGISTER under an agreement; gives what arrives at home.
    pub(crate) fn says(&mut self, method: &str, number: u32) -> Option<Message> {
        let text = self.request(method, Transport::Udp);
        self.hand.bench.send_by("ue", self.flow(number), &text);
        self.hand.bench.run_for(A_MOMENT);
        self.at_home(method)
    }

    /// A request of home to the phone, along this Path.
    pub(crate) fn calls(&mut self, path: &str, method: &str) -> Vec<(Flow, Message)> {
        let (ip, home, to) = (self.ip(), self.home(), self.hand.bench.addr("p1"));
        self.nonces += 1;
        let number = self.nonces;
        self.hand.bench.send(
            "home",
            to,
            &format!(
                "{method} sip:alice@{ip}:{PORT_US} SIP/2.0\n\
                 Via: SIP/2.0/UDP {home};branch=z9hG4bK-h{number}\n\
                 Max-Forwards: 70\n\
                 Route: {path}\n\
                 From: <sip:bob@{DOMAIN}>;tag=h{number}\n\
                 To: <sip:alice@{DOMAIN}>\n\
                 Call-ID: h{number}\n\
                 CSeq: 1 {method}\n\
                 Contact: <sip:s@{home}>\n\
                 Content-Length: 0\n"
            ),
        );
        self.hand.bench.run_for(A_MOMENT);
        self.heard()
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.hand.bench.run_for(Duration::from_secs(seconds));
    }

    /// Whether p1 has said this in a note.
    pub(crate) fn noted(&self, text: &str) -> bool {
        let notes = self.hand.bench.notes("p1");
        notes.iter().any(|note| note.text.contains(text))
    }
}

/// The mechanisms of a header.
pub(crate) fn mechanisms(message: &Message, name: HeaderName) -> Vec<SecurityMechanism> {
    message.headers().security(name).expect("readable")
}

/// The flag of Authorization.
pub(crate) fn flag(message: &Message) -> Option<IntegrityProtected> {
    let line = format!("Authorization: {}", header(message, "Authorization"));
    let credentials: Credentials = credentials_of(&line);
    credentials.integrity_protected()
}

/// The challenge of a 401.
pub(crate) fn challenge(unauthorized: &Message) -> Challenge {
    header(unauthorized, "WWW-Authenticate").parse().expect("a challenge")
}

/// Bytes of a text with CRLF.
pub(crate) fn bytes(text: &str) -> Bytes {
    crlf(text).into()
}
