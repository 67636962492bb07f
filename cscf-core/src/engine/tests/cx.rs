//! A node that asks an HSS over Diameter.

use super::basics::request;
use super::{Net, addr, settings, subject};
use crate::cx::{AskId, CxAnswer, CxRequest, CxResult, Lir};
use crate::diameter::{ClientConfig, DiameterClient, LocalPeer, Timing};
use crate::engine::{CxNode, Engine};
use crate::hss::{HssConfig, HssNode};
use crate::ids::Seed;
use crate::role::{Action, Actions, Answer, ContextId, Env, Incoming, Question, Role};
use crate::sip::Request;
use crate::time::UnixTime;
use crate::trace::{Protocol, TraceKind};

/// Asks where the called user is and answers with what the HSS says.
#[derive(Debug, Default)]
struct Asker {
    waiting: Vec<(AskId, ContextId, Request)>,
    answers: Vec<CxAnswer>,
}

impl Role for Asker {
    type Command = ();
    type Timer = u32;

    fn on_request(&mut self, env: &mut Env<'_>, incoming: Incoming, out: &mut Actions<u32>) {
        let ask = env.next_ask();
        let impu = incoming.request.request_uri.to_string();
        let lir = Lir { impu, originating: false, capabilities: false };
        out.push(Action::Ask { ask, question: Question::Cx(CxRequest::Lir(lir)) });
        self.waiting.push((ask, incoming.context, incoming.request));
    }

    fn on_answer(&mut self, _: &mut Env<'_>, ask: AskId, it: Answer, out: &mut Actions<u32>) {
        let answer = it.cx().expect("of the HSS");
        let status = match &answer {
            CxAnswer::Unreachable => 504,
            _ => 404,
        };
        self.answers.push(answer);
        for (_, context, request) in self.waiting.iter().filter(|(other, ..)| *other == ask) {
            let response = Box::new(request.reply(status));
            out.push(Action::Reply { context: *context, response });
        }
        self.waiting.retain(|(other, ..)| *other != ask);
    }

    fn on_command(&mut self, _: &mut Env<'_>, (): (), _: &mut Actions<u32>) {}
}

fn us(host: &str) -> LocalPeer {
    LocalPeer {
        origin_host: host.to_owned(),
        origin_realm: "ims.example".to_owned(),
        origin_state_id: 1,
    }
}

fn node() -> CxNode<Asker> {
    let engine = Engine::new("n2", Asker::default(), settings(2), Seed::derive(1, "n2"));
    let config = ClientConfig {
        us: us("n2.ims.example"),
        destination_realm: "ims.example".to_owned(),
        destination_host: None,
        server: addr(8),
        local: addr(2),
        timing: Timing::default(),
        tracing: true,
    };
    CxNode::new(engine, DiameterClient::new(config, Seed::derive(1, "n2 cx")))
}

fn hss() -> HssNode {
    let config = HssConfig {
        name: "hss".to_owned(),
        us: us("hss.ims.example"),
        home_domain: "ims.example".to_owned(),
        keep_server_name: false,
        sqn_scheme: crate::auth::Scheme::default(),
        timing: Timing::default(),
        tracing: true,
        unix_at_epoch: UnixTime(1_000_000_000),
    };
    HssNode::new(config, Vec::new(), Seed::derive(1, "hss")).expect("an HSS")
}

#[test]
fn a_question_of_the_role_travels_over_diameter() {
    let (mut node, mut hss) = (node(), hss());
    let mut net = Net::new(vec![(2, &mut node), (8, &mut hss)]);
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@ims.example", ""));
    net.run_ms(1_000);
    assert_eq!(subject(net.got[0].text.as_bytes()), "404");
    let diameter = net.trace.iter().any(
        |event| matches!(&event.kind, TraceKind::Sent(wire) if wire.protocol == Protocol::Diameter),
    );
    assert!(diameter);
    drop(net);
    let answers = &node.engine().role().answers;
    let [CxAnswer::Server(answer)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(answer.result, CxResult::UserUnknown);
    assert!(node.client().is_connected());
    assert_eq!(node.engine().sizes().asks, 0);
}

#[test]
fn without_an_hss_the_role_hears_that_it_is_unreachable() {
    let mut node = node();
    let mut net = Net::new(vec![(2, &mut node)]);
    net.datagram(addr(1), 2, &request("MESSAGE", "sip:bob@ims.example", ""));
    net.run_ms(11_000);
    assert_eq!(subject(net.got.last().expect("an answer").text.as_bytes()), "504");
    drop(net);
    assert_eq!(node.engine().role().answers, [CxAnswer::Unreachable]);
}
