//! A client by hand: REGISTERs as text from a raw peer, in the place of a UE, of p1 or of i1, and
//! the answers to challenges from the keys in the lab file.

use std::net::SocketAddr;

use bytes::Bytes;
use cscf_core::auth::{
    AkaFunctions, AkaNonce, Answer, Auts, Challenge, Credentials, IntegrityProtected, Milenage, Sqn,
};
use cscf_core::config::{Auth, Lab, Start, SubscriberConfig};
use cscf_core::diameter::{self, dictionary};
use cscf_core::engine::{CxNode, Engine};
use cscf_core::sip::{HeaderName, Message};
use cscf_core::time::Duration;
use cscf_tests::{Bench, DOMAIN, header, label};
use s_cscf::Scscf;
use scenarios::run::UNIX_AT_EPOCH;

/// Long enough for every message of a REGISTER without timers.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(300);

/// One user's client.
pub(crate) struct Hand {
    /// The lab.
    pub(crate) bench: Bench,
    /// Who registers.
    pub(crate) who: SubscriberConfig,
    /// To and From.
    pub(crate) impu: String,
    /// The raw peer.
    pub(crate) peer: &'static str,
    /// Its address.
    pub(crate) at: SocketAddr,
    /// Where it sends.
    pub(crate) to: SocketAddr,
    /// Request-URI.
    pub(crate) uri: String,
    /// Call-ID.
    pub(crate) call_id: String,
    /// The number of the last request.
    pub(crate) cseq: u32,
    /// Header lines of every request.
    pub(crate) lines: String,
    /// Contact line of every request.
    pub(crate) contact: String,
}

/// What p1 adds to a REGISTER.
fn from_p1(bench: &Bench) -> String {
    format!(
        "Path: <sip:tok@{};lr>\n\
         Require: path\n\
         P-Visited-Network-ID: \"{DOMAIN}\"\n\
         P-Charging-Vector: icid-value=\"hand-1\";orig-ioi=\"Type 1visited.example\"\n",
        bench.addr("p1")
    )
}

impl Hand {
    fn new(
        bench: Bench,
        name: &str,
        (peer, at, to): (&'static str, SocketAddr, SocketAddr),
    ) -> Self {
        let who = Lab::default_lab().subscriber(name).expect("a subscriber").into_owned();
        // A USIM registers with the identity of its IMSI, others with the default one.
        let impu = who.impus.iter().find(|impu| impu.barred).unwrap_or(&who.impus[0]).uri.clone();
        Self {
            bench,
            who,
            impu,
            peer,
            at,
            to,
            uri: format!("sip:{DOMAIN}"),
            call_id: format!("hand-{name}"),
            cseq: 0,
            lines: String::new(),
            contact: format!("Contact: <sip:{name}@{at}>;expires=3600\n"),
        }
    }

    /// A UE by hand at p1.
    pub(crate) fn ue(mut bench: Bench, name: &str) -> Self {
        let (at, to) = (bench.raw("ue"), bench.addr("p1"));
        Self::new(bench, name, ("ue", at, to))
    }

    /// In the place of p1, at i1.
    pub(crate) fn at_icscf(mut bench: Bench, name: &str) -> Self {
        let (at, to) = (bench.replace("p1", "fake"), bench.addr("i1"));
        let mut hand = Self::new(bench, name, ("fake", at, to));
        hand.lines = from_p1(&hand.bench);
        hand
    }

    /// In the place of i1, at s1; p1 is silent.
    pub(crate) fn at_scscf(mut bench: Bench, name: &str) -> Self {
        assert!(bench.stage.lab.crash("p1"));
        let (at, to) = (bench.replace("i1", "fake"), bench.addr("s1"));
        let mut hand = Self::new(bench, name, ("fake", at, to));
        hand.lines = from_p1(&hand.bench);
        hand.uri = format!("sip:{to}");
        hand
    }

    /// The text of the next REGISTER; `lines` come before the lines of every request.
    pub(crate) fn next(&mut self, lines: &str) -> String {
        self.cseq += 1;
        let Self { uri, impu, at, cseq, call_id, contact, .. } = self;
        let contact = if lines.contains("Contact:") { "" } else { contact };
        format!(
            "REGISTER {uri} SIP/2.0\n\
             Via: SIP/2.0/UDP {at};branch=z9hG4bK-{call_id}-{cseq};rport\n\
             Max-Forwards: 70\n\
             From: <{impu}>;tag=hand\n\
             To: <{impu}>\n\
             Call-ID: {call_id}\n\
             CSeq: {cseq} REGISTER\n\
             {lines}{contact}{}\
             Content-Length: 0\n",
            self.lines
        )
    }

    /// The Authorization line of a REGISTER that another trusted node has authenticated.
    pub(crate) fn trusted(&self) -> String {
        self.unchallenged(None).replace('\n', ",integrity-protected=\"auth-done\"\n")
    }

    /// From now on it registers flows, through a P-CSCF that knows outbound.
    pub(crate) fn outbound(&mut self) {
        self.lines = self.lines.replacen(";lr>", ";lr;ob>", 1) + "Supported: outbound\n";
    }

    /// Sends a text.
    pub(crate) fn send(&mut self, text: &str) {
        self.bench.send(self.peer, self.to, text);
    }

    /// Sends a text and takes the final response.
    pub(crate) fn ask(&mut self, text: &str) -> Message {
        self.send(text);
        self.bench.run_for(A_MOMENT);
        self.answered().expect("a final response")
    }

    /// The final response among what the raw peer has heard.
    pub(crate) fn answered(&mut self) -> Option<Message> {
        let is_final = |message: &Message| status(message) >= 200;
        self.bench.heard(self.peer).into_iter().rev().find(is_final)
    }

    /// Sends the next REGISTER and takes the final response.
    pub(crate) fn register(&mut self, lines: &str) -> Message {
        let text = self.next(lines);
        self.ask(&text)
    }

    /// The Authorization line of a first REGISTER.
    pub(crate) fn unchallenged(&self, flag: Option<IntegrityProtected>) -> String {
        let uri = format!("sip:{DOMAIN}");
        let mut credentials = Credentials::unchallenged(&self.who.impi, DOMAIN, &uri);
        credentials.set_integrity_protected(flag);
        format!("Authorization: {credentials}\n")
    }

    /// The right credentials for the first challenge of a 401.
    pub(crate) fn credentials(&self, challenged: &Message) -> Credentials {
        let challenge = challenge(challenged);
        let password = match &self.who.auth {
            Auth::Aka { .. } => self.milenage().f2345(&rand(&challenge)).res.as_bytes().to_vec(),
            Auth::Card { keys, .. } => {
                keys.functions().f2345(&rand(&challenge)).res.as_bytes().to_vec()
            }
            Auth::Digest { password, .. } => password.clone().into_bytes(),
        };
        self.answer(&challenge, &password)
    }

    /// Credentials made with this password.
    pub(crate) fn answer(&self, challenge: &Challenge, password: &[u8]) -> Credentials {
        let answer = Answer {
            username: &self.who.impi,
            password,
            method: "REGISTER",
            uri: &format!("sip:{DOMAIN}"),
            cnonce: "hand",
            nc: "00000001",
            body: b"",
        };
        Credentials::answer(challenge, &answer).expect("credentials")
    }

    /// The Authorization line of the right answer.
    pub(crate) fn proof(&self, challenged: &Message, flag: Option<IntegrityProtected>) -> String {
        line(self.credentials(challenged), flag)
    }

    /// The Authorization line of a wrong answer.
    pub(crate) fn wrong(&self, challenged: &Message, flag: Option<IntegrityProtected>) -> String {
        line(self.answer(&challenge(challenged), b"wrong"), flag)
    }

    /// The Authorization line without response: the MAC was wrong.
    pub(crate) fn mac_failure(&self, challenged: &Message) -> String {
        let uri = format!("sip:{DOMAIN}");
        let credentials = Credentials::refusal(&challenge(challenged), &self.who.impi, &uri);
        line(credentials.expect("credentials"), None)
    }

    /// The Authorization line with AUTS of a card that is at this sequence number.
    pub(crate) fn out_of_step(&self, challenged: &Message, sqn: u64) -> String {
        let challenge = challenge(challenged);
        let sqn_ms = Sqn::from_parts(sqn, 0, Default::default()).expect("48 bits");
        let auts = Auts::generate(&self.milenage(), &rand(&challenge), sqn_ms);
        line(self.answer(&challenge, b"").with_auts(&auts), None)
    }

    /// The algorithms of the user's card.
    pub(crate) fn milenage(&self) -> Milenage {
        let Auth::Aka { k, opc, .. } = self.who.auth else { panic!("no card") };
        Milenage::new(k, opc)
    }

    /// Registers in full with these flags of the first REGISTER and of the answer; gives the 200.
    pub(crate) fn registered(
        &mut self,
        first: Option<IntegrityProtected>,
        then: Option<IntegrityProtected>,
    ) -> Message {
        let unchallenged = self.unchallenged(first);
        let challenged = self.register(&unchallenged);
        assert_eq!(label(&challenged), "401 REGISTER");
        let proof = self.proof(&challenged, then);
        let ok = self.register(&proof);
        assert_eq!(label(&ok), "200 REGISTER");
        ok
    }

    /// The Diameter requests of this name that a node has sent since the mark.
    pub(crate) fn asked(&self, node: &str, name: &str) -> Vec<diameter::Message> {
        asked(&self.bench, node, name)
    }
}

/// The Diameter messages of this name that a node has sent since the mark.
pub(crate) fn asked(bench: &Bench, node: &str, name: &str) -> Vec<diameter::Message> {
    let decode = |bytes: &Bytes| diameter::Message::decode(bytes).expect("Diameter");
    let all = bench.sent_diameter(node);
    all.iter().map(decode).filter(|message| message.name() == name).collect()
}

/// The Cx result: of Experimental-Result, else Result-Code.
pub(crate) fn result_of(answer: &diameter::Message) -> u32 {
    let Some(group) = answer.find(&dictionary::EXPERIMENTAL_RESULT) else {
        return answer.number(&dictionary::RESULT_CODE).expect("a result");
    };
    assert!(answer.find(&dictionary::RESULT_CODE).is_none(), "one of the two");
    let group = group.as_group().expect("a group");
    let code = dictionary::EXPERIMENTAL_RESULT_CODE.code;
    let code = group.iter().find(|avp| avp.code == code).expect("a code");
    code.as_u32().expect("a number")
}

/// The credentials of an Authorization line.
pub(crate) fn credentials_of(line: &str) -> Credentials {
    let value = line.trim_end().strip_prefix("Authorization: ").expect("an Authorization line");
    value.parse().expect("credentials")
}

/// The text of a response to a request that a raw peer has heard.
pub(crate) fn response(request: &Message, status: &str, lines: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\n");
    for via in request.headers().fields(HeaderName::Via) {
        text += &format!("Via: {}\n", via.unfolded());
    }
    for name in ["From", "Call-ID", "CSeq"] {
        text += &format!("{name}: {}\n", header(request, name));
    }
    let to = header(request, "To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=raw" };
    text + &format!("To: {to}{tag}\n{lines}Content-Length: 0\n")
}

/// The status; 0 for a request.
pub(crate) fn status(message: &Message) -> u16 {
    match message {
        Message::Request(_) => 0,
        Message::Response(response) => response.status,
    }
}

/// The values of a list header.
pub(crate) fn values(message: &Message, name: HeaderName) -> Vec<String> {
    message.headers().values(name).map(str::to_owned).collect()
}

/// The first challenge of a 401.
pub(crate) fn challenge(challenged: &Message) -> Challenge {
    assert_eq!(label(challenged), "401 REGISTER");
    let fields = challenged.headers().fields(HeaderName::WwwAuthenticate);
    let first = fields.map(|field| field.unfolded().into_owned()).next().expect("a challenge");
    first.parse().expect("a challenge")
}

/// RAND of an AKA challenge.
pub(crate) fn rand(challenge: &Challenge) -> [u8; 16] {
    AkaNonce::decode(challenge.nonce().expect("a nonce")).expect("an AKA nonce").rand
}

/// An Authorization line.
pub(crate) fn line(mut credentials: Credentials, flag: Option<IntegrityProtected>) -> String {
    credentials.set_integrity_protected(flag);
    format!("Authorization: {credentials}\n")
}

/// Starts s1 anew with a changed configuration.
pub(crate) fn restart_s1(bench: &mut Bench, change: impl FnOnce(&mut s_cscf::Config)) {
    assert!(bench.stage.lab.crash("s1"));
    let node = bench.config.node_named("s1").expect("s1");
    let seed = bench.stage.lab.seed_of("s1");
    let start = Start { seed, tracing: true, unix_at_epoch: UNIX_AT_EPOCH };
    let mut config = s_cscf::lab::config(&bench.config, node);
    change(&mut config);
    let settings = bench.config.settings(node, &start).expect("settings");
    let engine = Engine::new("s1", Scscf::new(config, &start.seed), settings, start.seed);
    let client = bench.config.diameter_client(node, &start).expect("a client");
    bench.stage.lab.restart(Box::new(CxNode::new(engine, client)));
    bench.run_for(A_MOMENT);
}
