//! A phone by hand on a real socket, whose card remembers the sequence numbers it has accepted.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail"
)]
#![allow(dead_code, reason = "each test uses its part")]

use std::net::UdpSocket;

use cscf_core::auth::{
    AkaNonce, Answer, AuthenticateError, Auts, Challenge, Credentials, FreshnessCheck, Milenage,
    Sqn, Usim,
};
use cscf_core::config::Auth;
use cscf_core::sip::{self, HeaderName, Message, Response};

use crate::running::{Running, WITHIN};

/// A phone of a subscriber with a USIM.
pub(crate) struct Phone {
    socket: UdpSocket,
    domain: String,
    impi: String,
    user: String,
    call: String,
    cseq: u32,
    card: Usim<Milenage>,
}

/// What the card makes of a challenge.
pub(crate) enum Card {
    /// It is of its network and fresh: the Authorization line.
    Accepts(String),
    /// It is not fresh: the Authorization line, and what stands in it.
    OutOfStep(String, Auts, Sqn),
}

impl Phone {
    /// A phone at a host of the lab's network; its card has accepted all numbers up to `sqn_ms`.
    pub(crate) fn new(lab: &Running, name: &str, host: u8, sqn_ms: Sqn) -> Self {
        let who = lab.subscriber(name);
        let Auth::Aka { k, opc, .. } = who.auth else { panic!("no card") };
        let socket = UdpSocket::bind((lab.ip(host), 0)).expect("binds");
        socket.set_read_timeout(Some(WITHIN)).expect("a timeout");
        socket.connect(lab.pcscf()).expect("connects");
        let freshness = FreshnessCheck::default().starting_at(sqn_ms);
        Self {
            socket,
            domain: lab.lab.domain.clone(),
            impi: who.impi.clone(),
            user: name.to_owned(),
            call: format!("{name}-{host}-{sqn_ms}"),
            cseq: 0,
            card: Usim::new(Milenage::new(k, opc), freshness),
        }
    }

    /// The greatest number the card has accepted.
    pub(crate) fn sqn_ms(&self) -> Sqn {
        self.card.freshness.sqn_ms()
    }

    /// Forgets the network, but not the numbers of the card: a call of its own for what follows.
    pub(crate) fn switched_on_again(&mut self) {
        self.call += "-again";
    }

    fn uri(&self) -> String {
        format!("sip:{}", self.domain)
    }

    /// Sends the next REGISTER with this Authorization value and takes the final response.
    pub(crate) fn register(&mut self, authorization: &str) -> Response {
        self.cseq += 1;
        let Self { domain, user, call, cseq, .. } = self;
        let from = self.socket.local_addr().expect("an address");
        let request = format!(
            "REGISTER sip:{domain} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};branch=z9hG4bK{call}{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{domain}>;tag=1\r\nTo: <sip:{user}@{domain}>\r\n\
             Call-ID: {call}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{from}>\r\n\
             Expires: 3600\r\nAuthorization: {authorization}\r\nContent-Length: 0\r\n\r\n"
        );
        self.socket.send(request.as_bytes()).expect("sends");
        let mut buffer = [0; 8192];
        loop {
            let count = self.socket.recv(&mut buffer).expect("an answer in time");
            match sip::parse(&bytes::Bytes::copy_from_slice(&buffer[..count])) {
                Ok(Message::Response(response)) if response.status >= 200 => return response,
                Ok(_) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
    }

    /// Asks for a challenge.
    pub(crate) fn challenged(&mut self) -> Challenge {
        let first = Credentials::unchallenged(&self.impi, &self.domain, &self.uri());
        let response = self.register(&first.to_string());
        challenge(&response)
    }

    /// Has the card look at a challenge.
    pub(crate) fn authenticate(&mut self, challenge: &Challenge) -> Card {
        let nonce = nonce(challenge);
        match self.card.authenticate(&nonce.rand, &nonce.autn) {
            Ok(answer) => {
                Card::Accepts(self.credentials(challenge, answer.res.as_bytes()).to_string())
            }
            Err(AuthenticateError::SyncFailure { auts, sqn_ms, .. }) => {
                let line = self.credentials(challenge, b"").with_auts(&auts);
                Card::OutOfStep(line.to_string(), auts, sqn_ms)
            }
            Err(fault) => panic!("{fault}"),
        }
    }

    fn credentials(&self, challenge: &Challenge, password: &[u8]) -> Credentials {
        let answer = Answer {
            username: &self.impi,
            password,
            method: "REGISTER",
            uri: &self.uri(),
            cnonce: "hand",
            nc: "00000001",
            body: b"",
        };
        Credentials::answer(challenge, &answer).expect("credentials")
    }
}

/// The challenge of a 401.
pub(crate) fn challenge(response: &Response) -> Challenge {
    assert_eq!(response.status, 401, "{}", response.reason);
    let mut fields = response.headers.fields(HeaderName::WwwAuthenticate);
    let first = fields.next().map(|field| field.unfolded().into_owned());
    first.expect("a challenge").parse().expect("a challenge")
}

/// RAND and AUTN of a challenge.
pub(crate) fn nonce(challenge: &Challenge) -> AkaNonce {
    AkaNonce::decode(challenge.nonce().expect("a nonce")).expect("RAND and AUTN")
}
