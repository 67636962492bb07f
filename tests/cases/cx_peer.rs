//! An S- or I-CSCF by hand at the HSS: the test chooses each question, and looks at the Diameter
//! messages that the HSS sends.

use std::collections::VecDeque;

use bytes::Bytes;
use cscf_core::cx::{
    AskId, AssignmentType, AuthScheme, AuthorizationType, CxCommand, CxRequest, CxResult, Lir, Mar,
    Sar, Uar,
};
use cscf_core::diameter::{
    ClientInput, ClientOutput, Definition, DiameterClient, Message, dictionary,
};
use cscf_core::engine::{Input, Node, Output};
use cscf_core::time::Instant;
use cscf_core::transport::Transport;
use cscf_tests::Bench;
use scenarios::lab::LabNode;

use super::hand::{A_MOMENT, asked};

/// A Diameter client whose questions the test asks.
#[derive(Debug)]
pub(crate) struct CxPeer {
    name: String,
    client: DiameterClient,
    outputs: VecDeque<Output>,
    asked: u64,
    /// What demands are answered with; silence for `None`.
    pub(crate) verdict: Option<CxResult>,
}

impl CxPeer {
    fn pump(&mut self, now: Instant) {
        while let Some(output) = self.client.poll_output() {
            match output {
                ClientOutput::Close { conn } => self.outputs.push_back(Output::Close(conn)),
                ClientOutput::Connect { conn, local, remote } => {
                    let transport = Transport::Tcp;
                    self.outputs.push_back(Output::Connect {
                        conn,
                        transport,
                        local,
                        remote,
                        sa: None,
                    });
                }
                ClientOutput::Write { conn, bytes } => {
                    self.outputs.push_back(Output::Write { conn, bytes });
                }
                ClientOutput::Demand(demand, _) => {
                    if let Some(verdict) = self.verdict {
                        let input = ClientInput::DemandAnswer(demand, verdict.into());
                        self.client.handle_input(now, input);
                    }
                }
                ClientOutput::Answer(..) | ClientOutput::Trace(_) => {}
            }
        }
    }
}

impl Node for CxPeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle_input(&mut self, now: Instant, input: Input) {
        let input = match input {
            Input::Bytes { conn, bytes, .. } => ClientInput::Bytes(conn, bytes),
            Input::Closed { conn, cause } => ClientInput::Closed(conn, cause),
            Input::Opened(flow) => ClientInput::Opened(flow),
            Input::Timeout => ClientInput::Timeout,
            _ => return,
        };
        self.client.handle_input(now, input);
        self.pump(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }
}

impl LabNode for CxPeer {}

/// The HSS of the built-in lab with two S-CSCFs by hand, `sA` and `sB`.
pub(crate) struct Hss {
    /// The lab.
    pub(crate) bench: Bench,
}

impl Hss {
    pub(crate) fn new() -> Self {
        Self::of(Bench::new(&[]))
    }

    /// With the HSS of this lab.
    pub(crate) fn of(mut bench: Bench) -> Self {
        for (name, last) in [("sA", 91), ("sB", 92)] {
            let mut node = bench.config.node_named("s1").expect("s1").clone();
            name.clone_into(&mut node.name);
            node.listen.set_ip([127, 1, 0, last].into());
            let start = cscf_core::config::Start {
                seed: bench.stage.lab.seed_of(name),
                tracing: true,
                unix_at_epoch: scenarios::run::UNIX_AT_EPOCH,
            };
            let client = bench.config.diameter_client(&node, &start).expect("a client");
            let (name, outputs) = (name.to_owned(), VecDeque::new());
            let verdict = Some(CxResult::Success);
            let peer = CxPeer { name, client, outputs, asked: 0, verdict };
            bench.stage.lab.add(Box::new(peer), &[node.listen]);
        }
        bench.run_for(A_MOMENT);
        Self { bench }
    }

    /// Asks as this S-CSCF; gives the answer that the HSS sends.
    pub(crate) fn ask(&mut self, peer: &str, request: CxRequest) -> Message {
        self.bench.mark();
        let name = match request.command() {
            CxCommand::Lir => "LIA",
            CxCommand::Mar => "MAA",
            CxCommand::Sar => "SAA",
            CxCommand::Uar => "UAA",
        };
        self.with(peer, |peer, now| {
            peer.asked += 1;
            let input = ClientInput::Ask(AskId(peer.asked), request);
            peer.client.handle_input(now, input);
        });
        self.bench.run_for(A_MOMENT);
        let mut answers = asked(&self.bench, "hss", name);
        assert_eq!(answers.len(), 1, "one {name}");
        answers.remove(0)
    }

    /// Changes a peer.
    pub(crate) fn with(&mut self, peer: &str, act: impl FnOnce(&mut CxPeer, Instant)) {
        let done = self.bench.stage.lab.with(peer, |node: &mut CxPeer, now| {
            act(node, now);
            node.pump(now);
        });
        done.expect("a peer of that name");
    }

    /// UAR; gives the result and what comes with it.
    pub(crate) fn uar(&mut self, impi: &str, impu: &str, kind: AuthorizationType) -> String {
        let answer = self.ask("sA", uar(impi, impu, kind));
        said(&answer)
    }

    /// MAR for one vector.
    pub(crate) fn mar(&mut self, peer: &str, impi: &str, impu: &str) -> Message {
        self.ask(peer, mar(peer, impi, impu, AuthScheme::Aka, 1))
    }

    /// SAR of this type.
    pub(crate) fn sar(&mut self, peer: &str, impi: &str, impu: &str, kind: u32) -> Message {
        self.ask(peer, CxRequest::Sar(sar(peer, impi, &[impu], kind)))
    }

    /// LIR; gives the result and what comes with it.
    pub(crate) fn lir(&mut self, impu: &str, originating: bool, capabilities: bool) -> String {
        let impu = impu.to_owned();
        let answer = self.ask("sA", CxRequest::Lir(Lir { impu, originating, capabilities }));
        said(&answer)
    }
}

/// A UAR of a home user.
pub(crate) fn uar(impi: &str, impu: &str, authorization_type: AuthorizationType) -> CxRequest {
    CxRequest::Uar(Uar {
        impi: impi.to_owned(),
        impu: impu.to_owned(),
        visited_network: cscf_tests::DOMAIN.to_owned(),
        authorization_type,
        emergency: false,
    })
}

/// A MAR.
pub(crate) fn mar(peer: &str, impi: &str, impu: &str, scheme: AuthScheme, count: u32) -> CxRequest {
    CxRequest::Mar(Mar {
        impi: impi.to_owned(),
        impu: impu.to_owned(),
        server_name: format!("sip:{peer}"),
        scheme,
        count,
        resync: None,
    })
}

/// A SAR; an empty IMPI is none.
pub(crate) fn sar(peer: &str, impi: &str, impus: &[&str], kind: u32) -> Sar {
    Sar {
        impi: (!impi.is_empty()).then(|| impi.to_owned()),
        impus: impus.iter().map(|impu| (*impu).to_owned()).collect(),
        server_name: format!("sip:{peer}"),
        assignment_type: AssignmentType::from_code(kind).expect("a type"),
        profile_available: false,
        wildcard: None,
        restoration: None,
    }
}

/// The result and where it stands: `base 2001`, `experimental 5001`. One of the two is there, and
/// an experimental one is of 3GPP (TS 29.229 §6.2).
pub(crate) fn result(answer: &Message) -> String {
    let base = answer.number(&dictionary::RESULT_CODE);
    let group = answer.find(&dictionary::EXPERIMENTAL_RESULT);
    match (base, group) {
        (Some(code), None) => format!("base {code}"),
        (None, Some(group)) => {
            let inside = group.as_group().expect("a group");
            let number = |what: &Definition| {
                let found = inside.iter().find(|avp| avp.is(what)).expect("is there");
                found.as_u32().expect("a number")
            };
            assert_eq!(number(&dictionary::VENDOR_ID), 10415);
            format!("experimental {}", number(&dictionary::EXPERIMENTAL_RESULT_CODE))
        }
        _ => panic!("one result: {answer:?}"),
    }
}

/// The result, then `at NAME` for Server-Name, `can M1 M2 wish O1 try NAME` for
/// Server-Capabilities, `profile` for User-Data, `restore n` for so many registrations.
pub(crate) fn said(answer: &Message) -> String {
    let mut text = result(answer);
    if let Some(name) = answer.text(&dictionary::SERVER_NAME) {
        text += &format!(" at {name}");
    }
    if let Some(group) = answer.find(&dictionary::SERVER_CAPABILITIES) {
        text += " can";
        for avp in group.as_group().expect("a group") {
            let bytes: &Bytes = &avp.data;
            text += &if avp.is(&dictionary::MANDATORY_CAPABILITY) {
                format!(" {}", avp.as_u32().expect("a number"))
            } else if avp.is(&dictionary::OPTIONAL_CAPABILITY) {
                format!(" wish {}", avp.as_u32().expect("a number"))
            } else {
                format!(" try {}", String::from_utf8_lossy(bytes))
            };
        }
    }
    if answer.find(&dictionary::USER_DATA).is_some() {
        text += " profile";
    }
    let restorations = answer.all(&dictionary::SCSCF_RESTORATION_INFO).count();
    if restorations > 0 {
        text += &format!(" restore {restorations}");
    }
    text
}
